"""`headrace` whose trainers learn with the light learner: for real kills of everything around learning.

    python -m headrace.testing.light_roles run -f FILE …

is the command line; its supervisor starts every trainer as `python -m headrace.testing.light_roles`, with the order on standard
input, and every other role as it always does.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from headrace.control import role, supervisor
from headrace.control.orders import RoleOrder
from headrace.stages.train import stage as train_stage
from headrace.testing.light_learner import open_light_learner

_PROGRAM = "headrace.testing.light_roles"
_orders = supervisor.orders


def _with_light_trainers(*arguments: Any) -> Iterator[RoleOrder]:
    """The supervisor's own orders, the trainers' under this module."""
    for order in _orders(*arguments):
        yield replace(order, program=_PROGRAM) if order.process.startswith("train/") else order


def main() -> int:
    """A role's process where there are no arguments, else the command line."""
    if len(sys.argv) == 1:
        train_stage.TrainStage = partial(train_stage.TrainStage, learner=open_light_learner)
        return role.main()
    supervisor.orders = _with_light_trainers
    from headrace.doors.cli import main as command_line

    command_line()
    return 0


if __name__ == "__main__":
    sys.exit(main())
