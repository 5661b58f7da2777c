"""Named points where a test can kill the process: before and after every commit of every stage.

Production code calls `failpoint("label.commit.before")`; unless a test has armed that name, it costs one dictionary lookup.
The environment arms a failpoint, so that child processes inherit it: `HEADRACE_FAILPOINT=NAME:NTH` sends SIGKILL to this
process when NAME is reached for the NTH time. `armed()` sets another action within this process.
"""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

_actions: dict[str, Callable[[], None]] = {}


def failpoint(name: str) -> None:
    """Does nothing unless `name` is armed."""
    if _actions and (action := _actions.get(name)):
        action()


@contextmanager
def armed(name: str, action: Callable[[], None]) -> Generator[None]:
    """Runs `action` whenever `name` is reached inside the context; on exit, restores what was armed before."""
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
    """Arms the failpoint in HEADRACE_FAILPOINT; called when a role's process starts."""
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
