"""Named points at which a test may kill the process: before and after every commit of every stage.

Production code calls `failpoint("label.commit.before")`; unless a test armed that name it costs one dictionary look-up.
Armed by the environment, so that child processes inherit it: `HEADRACE_FAILPOINT=NAME:NTH` sends SIGKILL to this
process when NAME is passed for the NTH time. `armed()` hands in another action in process.
"""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

_actions: dict[str, Callable[[], None]] = {}


def failpoint(name: str) -> None:
    """Does nothing, unless `name` is armed."""
    if _actions and (action := _actions.get(name)):
        action()


@contextmanager
def armed(name: str, action: Callable[[], None]) -> Generator[None]:
    """Runs `action` whenever `name` is passed, while the context lasts; then what was armed before is armed again."""
    before = _actions.get(name)
    _actions[name] = action
    try:
        yield
    finally:
        if before is None:
            del _actions[name]
        else:
            _actions[name] = before


def arm_from_environment() -> None:
    """Arms what HEADRACE_FAILPOINT names; called at the start of every role's process."""
    setting = os.environ.get("HEADRACE_FAILPOINT")
    if not setting:
        return
    name, _, nth = setting.rpartition(":")
    remaining = int(nth)

    def count_down() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    _actions[name] = count_down
