"""act: runs a topology until it is stopped, idle, or cannot continue."""

import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, cast

from headrace.control.health import HOPELESS_FAILURES, failing
from headrace.control.idleness import is_idle
from headrace.control.performing import perform_pending
from headrace.control.readers import release_readers, restore_readers, settle_readers
from headrace.control.supervisor import RoleProcess, Supervisor
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FencedError, RetryableError, UnavailableError
from headrace.foundation.settings import Settings
from headrace.log.topic_log import TopicLog
from headrace.stages.context import StageContext, backends_of
from headrace.stages.serve.options import AnswersKept, DoorOptions
from headrace.stages.stage import read_statuses
from headrace.stages.stage_spec import StageSpec, downstream
from headrace.stages.topology import Topology

POLL_SECONDS = 0.1
HOPELESS_RESTARTS = 5
IDLE_PAUSE = 9
"""Times as long as the question whether all is idle took, it is not asked again: on a remote log it takes dozens of requests."""
AWAY_SECONDS = 1.0
TRIM_SECONDS = 60.0
RECONCILE_SECONDS = 1.0
_GIVES_UP = {"TeacherAvailable", "Indexing"}
_FINAL = {"UnavailableTimeout", "Rejected"}


class View(Protocol):
    """What shows progress while the roles run."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def refresh(self, died: list[RoleProcess]) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    failure: str = ""
    """Empty: it ended normally."""
    exit_code: int = 0


@contextmanager
def _stop_requests() -> Generator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying from them."""
    seen: list[int] = []
    before = {
        sign: signal.signal(sign, lambda number, _: seen.append(number)) for sign in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield seen
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def run_until(
    topology: Topology,
    log: TopicLog,
    settings: Settings,
    *,
    until_idle: bool,
    view: View,
    when_idle: Callable[[], None] | None = None,
    applied: Callable[[], Topology | None] = lambda: None,
    clock: Clock = SYSTEM_CLOCK,
) -> Outcome:
    """Starts and watches every role; always stops them cleanly.

    `until_idle`: exits once everything is read and learned; calls `when_idle` first, while the roles still run. An interrupt
    gives exit code 130 with `until_idle`; without it, it is the normal end. `applied` is polled for a newly applied topology;
    None: nothing changed.
    """
    supervisor = Supervisor(
        topology.specs,
        log,
        settings.state,
        backends=backends_of(settings, suspend_jobs=until_idle),
        doors=DoorOptions(settings.host, settings.port, settings.api_key, cast("AnswersKept", settings.answers)),
        clock=clock,
    )
    current = _Current(topology, applied)
    context = StageContext(log, supervisor.holder, settings.state, backends_of(settings), clock)
    with _stop_requests() as stop_requests:
        try:
            settle_readers(log, topology, supervisor.holder, clock)
            supervisor.start()
            with view:
                outcome = _watch(
                    supervisor,
                    current,
                    context,
                    until_idle=until_idle,
                    view=view,
                    stop_requests=stop_requests,
                )
            if when_idle and not outcome.failure:
                when_idle()
            return outcome
        finally:
            supervisor.stop()


class _Current:
    """What is applied now."""

    def __init__(self, topology: Topology, applied: Callable[[], Topology | None]) -> None:
        self.topology, self._applied = topology, applied

    def changed(self) -> bool:
        """Whether it changed since the last look."""
        found = self._applied()
        self.topology = found or self.topology
        return found is not None

    def look(self) -> Topology:
        self.changed()
        return self.topology


def _watch(
    supervisor: Supervisor,
    current: _Current,
    context: StageContext,
    *,
    until_idle: bool,
    view: View,
    stop_requests: list[int],
) -> Outcome:
    log, clock = context.log, context.clock
    trimmed_at = looked_at = clock.monotonic()
    ask_idle_at = trimmed_at
    away, gone = "", frozenset[tuple[str, str]]()
    while not stop_requests:
        try:
            died = supervisor.poll()
            view.refresh(died)
            if replaced := _replaced(supervisor, died):
                return replaced
            if until_idle and (asked_at := clock.monotonic()) >= ask_idle_at:
                if outcome := _finished(supervisor, current.topology.specs, log):
                    return outcome
                ask_idle_at = clock.monotonic() + max(POLL_SECONDS, IDLE_PAUSE * (clock.monotonic() - asked_at))
            if clock.monotonic() - looked_at > RECONCILE_SECONDS:
                looked_at = clock.monotonic()
                if current.changed():
                    restore_readers(log, current.topology.specs, supervisor.holder, clock)
                    for what in supervisor.reconcile(current.topology.specs):
                        sys.stderr.write(f"applied: {what}\n")
                perform_pending(
                    current.look, context, lambda names: supervisor.without(names, lambda: current.look().specs)
                )
            if clock.monotonic() - trimmed_at > TRIM_SECONDS:
                trimmed_at = clock.monotonic()
                gone = release_readers(log, current.topology, supervisor.holder, gone)
                _trim(log, clock)
            log.wait(POLL_SECONDS)
            away = ""
        except RetryableError as error:  # the log is away for a while: the roles wait for it, and so do we
            if str(error) != away:
                away = str(error)
                sys.stderr.write(f"{away}; retrying\n")
            clock.sleep(AWAY_SECONDS)
    return Outcome("interrupted before everything was processed", 130) if until_idle else Outcome()


def _trim(log: TopicLog, clock: Clock) -> None:
    try:
        log.trim(clock.now_ms())
    except RetryableError as error:  # retention comes round again in a minute
        sys.stderr.write(f"retention failed: {error}\n")


def _replaced(supervisor: Supervisor, died: Sequence[RoleProcess]) -> Outcome | None:
    """Another `headrace` took over a role, which is possible only on a shared log. This one exits, or the two would fence each other endlessly."""
    for role in died:
        if role.last_exit == FencedError.exit_code:
            name, words = role.order.process, supervisor.last_words(role.order.process).removeprefix("error: ")
            return Outcome(
                f"another headrace took over the role {name} on this log, so this one exits ({words}). "
                "To run both, give one of them a different kafka_prefix",
                FencedError.exit_code,
            )
    return None


def _finished(supervisor: Supervisor, specs: Sequence[StageSpec], log: TopicLog) -> Outcome | None:
    """The outcome of a run that ends when idle; None: it continues.

    A stage that keeps failing blocks only what reads from it; the rest is finished first.
    """
    if failure := _hopeless(supervisor, log):
        return failure
    hopeless = [one for one in failing(log, specs, supervisor.started_ms) if one.failures >= HOPELESS_FAILURES]
    lost = downstream(specs, [one.spec for one in hopeless])
    if not is_idle(log, [one for one in specs if one not in lost], supervisor.holder):
        return None
    if hopeless:
        message = "; ".join(f"{one.spec.name}: {one.message}" for one in hopeless)
        return Outcome(f"{message}. Everything else is done", hopeless[0].exit_code)
    return Outcome()


def _hopeless(supervisor: Supervisor, log: TopicLog) -> Outcome | None:
    for role in supervisor.roles:
        if role.restarts >= HOPELESS_RESTARTS:
            words = supervisor.last_words(role.order.process) or "see `headrace logs`"
            return Outcome(f"the role {role.order.process} died {role.restarts} times in a row: {words}", 1)
    for status in read_statuses(log):
        for condition in status.conditions:
            fresh = condition.since_ms >= supervisor.started_ms
            if condition.type in _GIVES_UP and condition.status == "False" and condition.reason in _FINAL and fresh:
                return Outcome(f"{status.resource}: {condition.message}", UnavailableError.exit_code)
    return None
