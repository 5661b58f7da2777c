"""A role's process: the stages of one role, a thread each, until told to end.

Started by the supervisor as `python -m headrace.control.role`, with its order on standard input, so that secrets are never
on a command line or on disk. It asks the kernel to die with its parent.
"""

import ctypes
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import FencedError, HeadraceError, RetryableError
from headrace.foundation.failpoints import arm_from_environment
from headrace.foundation.settings import Settings
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.limits import ResourceLimits
from headrace.stages.stage import Stage
from headrace.stages.topology import Topology
from headrace.stages.transform.options import TransformOptions

WAIT_SECONDS = 0.2
RETRY_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Backends:
    """The technologies behind the ports, with what each needs; may hold secrets."""

    log: str = "sqlite"
    log_options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    streams: str = "duckdb"
    stream_options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    suspend_jobs: bool = False
    """Jobs on a cluster are stopped, with a savepoint, when we end; else they run on."""

    def open_log(self, state: Path) -> TopicLog:
        """The log of a state directory."""
        return open_log(state, technology=self.log, options=self.log_options, clock=SYSTEM_CLOCK)


EMBEDDED = Backends()


def backends_of(settings: Settings, *, suspend_jobs: bool = False) -> Backends:
    """What a process's settings say."""
    return Backends(settings.log, settings.log_options, settings.streams, settings.stream_options, suspend_jobs)


@dataclass(frozen=True, slots=True)
class RoleOrder:
    """What a role's process is told."""

    role: str
    """ingest, embed/NAMESPACE.NAME/REPLICA, index, transform, label, train/NAMESPACE.NAME, mirror or serve"""
    topology: Topology
    """Its own part alone."""
    state: Path
    holder: str
    backends: Backends = EMBEDDED
    limits: ResourceLimits = ResourceLimits()
    module: str = "headrace.control.role"
    """What `python -m` runs; a door that is a role (serve) names its own."""


def die_with_parent() -> None:
    """Linux: SIGKILL this process when its parent ends. Elsewhere the supervisor's own end is all there is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_cpu(limits: ResourceLimits) -> None:
    """Binds the process to as many cores as it may use; numeric libraries read their thread count from the environment."""
    if limits.cpu is None or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[: max(1, int(limits.cpu))])


def open_stages(order: RoleOrder, log: TopicLog) -> list[Callable[[], Stage]]:
    """How to open each stage of the role; opened in its own thread."""
    topology, holder = order.topology, order.holder
    match order.role.partition("/")[0]:
        case "ingest":
            from headrace.stages.ingest.stage import IngestStage
            from headrace.stages.sink.stage import SinkStage

            return [
                *(lambda o=o: IngestStage(o, log, holder) for o in topology.ingest),
                *(lambda o=o: SinkStage(o, log, holder) for o in topology.sinks),
            ]
        case "transform":
            return [lambda o=o: _open_transform(o, order, log) for o in topology.transform]
        case "label":
            from headrace.stages.label.stage import LabelStage
            from headrace.stages.prompt.stage import PromptStage

            return [
                *(lambda o=o: PromptStage(o, log, holder, state=order.state) for o in topology.prompt),
                *(lambda o=o: LabelStage(o, log, holder, order.state) for o in topology.label),
            ]
        case "index":
            from headrace.stages.index.stage import IndexStage

            return [lambda o=o: IndexStage(o, log, holder, order.state) for o in topology.index]
        case "train":
            from headrace.stages.train.stage import TrainStage

            return [lambda o=o: TrainStage(o, log, holder, order.state) for o in topology.train]
        case "mirror":
            from headrace.stages.mirror.stage import MirrorStage

            return [lambda o=o: MirrorStage(o, log, holder, order.state) for o in topology.mirror]
        case other:
            raise HeadraceError(f"there is no role {other!r}")


def _open_transform(options: TransformOptions, order: RoleOrder, log: TopicLog) -> Stage:
    """In this process, or as a job on the engine's cluster. Another finetuner's examples are no canonical rows: those stay here."""
    from headrace.stages.transform.job import TransformJobStage
    from headrace.stages.transform.stage import TransformStage
    from headrace.streams.registry import open_job_engine

    sources = {one.source.name: one.source for one in order.topology.ingest}
    backends = order.backends
    jobs = open_job_engine(backends.streams, backends.stream_options)
    if jobs is None:
        return TransformStage(options, sources, log, order.holder, engine=backends.streams)
    if any(one.finetuner for one in options.streams):
        return TransformStage(options, sources, log, order.holder)
    return TransformJobStage(options, sources, log, order.holder, jobs, suspend=backends.suspend_jobs)


class ReopenedStage:
    """A stage that is opened anew, from what it last committed, after an error that may pass.

    Whatever it had taken in but not committed, a source's rows or a query's half-made windows, is read again: a full disk loses no
    more than a kill does. Opening takes the lease, so a stage that was replaced meanwhile and replaces its successor in turn is
    itself fenced by the successor's restart.
    """

    def __init__(self, opener: Callable[[], Stage]) -> None:
        self._opener = opener
        self._stage: Stage | None = None
        self.name = ""

    def open(self) -> None:
        """Opens it; errors are the stage's own."""
        self._stage = self._opener()
        self.name = self._stage.name

    def step(self) -> bool:
        """One step. After a RetryableError, which it raises, the next step opens the stage anew first."""
        if self._stage is None:
            self.open()
            assert self._stage is not None
        try:
            return self._stage.step()
        except RetryableError:
            self.close()
            raise

    def close(self) -> None:
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.close()


class StageThread(threading.Thread):
    """Steps one stage until told to end, or until it fails for good."""

    def __init__(self, opener: Callable[[], Stage], log: TopicLog, on_failure: Callable[[], None]) -> None:
        """`opener` is called in the thread itself."""
        super().__init__(daemon=True)
        self._opener, self._log, self._on_failure = opener, log, on_failure
        self._ending = threading.Event()
        self.exit_code = 0

    def run(self) -> None:
        try:
            self._loop(ReopenedStage(self._opener))
        except FencedError as error:
            self._fail(error.exit_code, str(error))
        except HeadraceError as error:
            self._fail(error.exit_code, str(error), traceback.format_exc())
        except BaseException as error:  # noqa: BLE001 - whatever ends a stage must end its process, visibly
            self._fail(1, f"{type(error).__name__}: {error}", traceback.format_exc())

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Asks it to end after its step, and waits."""
        self._ending.set()
        self.join(timeout_seconds)

    def _loop(self, stage: ReopenedStage) -> None:
        last_error = ""
        try:
            while not self._ending.is_set():
                try:
                    worked = stage.step()
                    last_error = ""
                except RetryableError as error:
                    if str(error) != last_error:
                        _say(f"{stage.name or 'a stage that could not be opened yet'}: {error}; trying again")
                    last_error = str(error)
                    self._ending.wait(error.retry_after_seconds or RETRY_SECONDS)
                    continue
                if not worked:
                    self._log.wait(WAIT_SECONDS)
        finally:
            stage.close()

    def _fail(self, code: int, message: str, details: str = "") -> None:
        _say(f"error: {message}")
        if details:
            _say(details)
        self.exit_code = code
        self._on_failure()


def run_stages(openers: Sequence[Callable[[], Stage]], log: TopicLog, stop: threading.Event) -> int:
    """Runs every stage in a thread of its own until `stop` is set or one fails; returns the exit code of the first that failed."""
    threads = [StageThread(opener, log, stop.set) for opener in openers]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.stop()
    return next((thread.exit_code for thread in threads if thread.exit_code), 0)


def _say(text: str) -> None:
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def read_order() -> RoleOrder:
    """The order on standard input; from here on this process dies with its parent and keeps to its cores."""
    die_with_parent()
    order: RoleOrder = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent process wrote it
    limit_cpu(order.limits)
    arm_from_environment()
    return order


def main() -> int:
    """Runs the order on standard input. Exit codes: 0 told to end; 6 fenced; else what failed is on standard error."""
    order = read_order()
    log = order.backends.open_log(order.state)
    stop = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stop.set())
    exit_code = run_stages(open_stages(order, log), log, stop)
    log.close()
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
