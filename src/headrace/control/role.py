"""A role's process: its stages, one thread each, until asked to stop.

Started by the supervisor as `python -m headrace.control.role`. Its orders come on standard input, so that secrets are never on a
command line or on disk. The first says what to run; a later one says which stages to stop, start and reopen while the rest
keep running. The kernel kills it when its parent dies.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from headrace.control.at_work import AtWork
from headrace.control.orders import RoleOrder, received
from headrace.control.stage_thread import StageThread
from headrace.foundation.failpoints import arm_from_environment
from headrace.foundation.parent import die_with_parent
from headrace.stages.context import StageContext
from headrace.stages.limits import ResourceLimits
from headrace.stages.stage import StageReporter
from headrace.stages.stage_spec import StageSpec
from headrace.stages.stage_type import stage_type

HEALTH_STAGE = "-health"
"""Suffix to a stage's kind: the name under which its thread's health is reported."""


def limit_cpu(limits: ResourceLimits) -> None:
    """Pins the process to as many cores as it may use; numeric libraries read their thread count from the environment."""
    if limits.cpu is None or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[: max(1, int(limits.cpu))])


def thread_of(spec: StageSpec, context: StageContext, on_end: Callable[[], None]) -> StageThread:
    """The thread of one stage, not yet started."""
    opener = stage_type(spec.kind).open
    assert opener is not None, f"{spec.kind} needs a program of its own"
    reporter = StageReporter(context.log, spec.id, f"{spec.kind}{HEALTH_STAGE}", context.clock)
    at_work = AtWork(context.state, spec.name)
    return StageThread(lambda: opener(spec, context), context.log, on_end, reporter, at_work)


class StageThreads:
    """The stages of one process."""

    def __init__(self, context: StageContext, on_end: Callable[[], None]) -> None:
        self._context, self._on_end = context, on_end
        self._running: dict[str, tuple[StageSpec, StageThread]] = {}

    def take(self, specs: Sequence[StageSpec]) -> None:
        """Reconciles the running stages with `specs`: stops those gone or changed, then starts those new or changed."""
        wanted = {one.name: one for one in specs}
        ended = [name for name, (spec, _) in self._running.items() if wanted.get(name) != spec]
        self._end([self._running.pop(name)[1] for name in ended])
        for name, spec in wanted.items():
            if name not in self._running:
                thread = thread_of(spec, self._context, self._on_end)
                self._running[name] = spec, thread
                thread.start()

    def stop(self) -> int:
        """Stops all; returns the exit code of the first that failed."""
        threads = [thread for _, thread in self._running.values()]
        self._end(threads)
        return next((thread.exit_code for thread in threads if thread.exit_code), 0)

    @staticmethod
    def _end(threads: Sequence[StageThread]) -> None:
        for thread in threads:
            thread.ask_to_end()
        for thread in threads:
            thread.stop()


def read_order() -> RoleOrder:
    """The first order on standard input; from then on this process dies with its parent and stays on its cores."""
    die_with_parent()
    order = next(received(sys.stdin.fileno()))
    limit_cpu(order.limits)
    arm_from_environment()
    return order


def _listen(told: "SimpleQueue[RoleOrder | None]") -> None:
    for order in received(sys.stdin.fileno()):
        told.put(order)


def main() -> int:
    """Runs the orders on standard input. Exit codes: 0 asked to stop; 6 fenced."""
    order = read_order()
    log = order.backends.open_log(order.state)
    told: SimpleQueue[RoleOrder | None] = SimpleQueue()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: told.put(None))
    stages = StageThreads(order.context(log), lambda: told.put(None))
    stages.take(order.specs)
    threading.Thread(target=_listen, args=(told,), daemon=True).start()
    while changed := told.get():
        stages.take(changed.specs)
    exit_code = stages.stop()
    log.close()
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
