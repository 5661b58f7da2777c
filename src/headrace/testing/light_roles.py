"""`headrace` whose trainers learn with the light learner: for real kills of everything around learning.

    python -m headrace.testing.light_roles run -f FILE …

is the command line; its supervisor starts every trainer as `python -m headrace.testing.light_roles`, with the order on standard
input, and every other role as it always does.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from headrace.control import role, supervisor
from headrace.control.role import RoleOrder
from headrace.learning.learner import Learner
from headrace.stages import train
from headrace.stages.options import TrainOptions
from headrace.testing.light_learner import open_light_learner

_MODULE = "headrace.testing.light_roles"
_orders = supervisor.orders


def _with_light_trainers(*arguments: Any) -> Iterator[RoleOrder]:
    """The supervisor's own orders, the trainers' under this module."""
    for order in _orders(*arguments):
        yield replace(order, module=_MODULE) if order.role.startswith("train/") else order


def _open(options: TrainOptions) -> Learner:
    return open_light_learner(options.learner)


def main() -> int:
    """A role's process where there are no arguments, else the command line."""
    if len(sys.argv) == 1:
        train.open_learner = _open
        return role.main()
    supervisor.orders = _with_light_trainers
    from headrace.doors.cli import main as command_line

    command_line()
    return 0


if __name__ == "__main__":
    sys.exit(main())
