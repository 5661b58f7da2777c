"""The whole job in one process: every stage of a topology on one state directory, stepped in turn, the same way every time.

    with Pipeline(topology, state, learner=open_light_learner) as pipeline:
        pipeline.run()
    assert not differences(snapshot(topology, state), undisturbed)

A Pipeline that is dropped without `close` is what a kill leaves: nothing is flushed or committed; the next one on the directory
continues from there.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from headrace.control.idleness import is_idle, lags
from headrace.control.stage_thread import ReopenedStage
from headrace.events import codec
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FinalError, InvalidDeclarationError, RetryableError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import Settings
from headrace.kinds.catalog import load
from headrace.kinds.topology import topology as make_topology
from headrace.log.record import Record
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.promotion import registry
from headrace.stages.context import StageContext
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import StageSpec
from headrace.stages.stage_type import stage_type
from headrace.stages.topology import Topology
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.stage import OpenLearner, TrainStage
from headrace.stages.train.train_state import read_train_state
from headrace.testing.builders import read_all

PAUSE_SECONDS = 0.01
MAX_TURNS = 2_000
STEPPED = ("ingest", "index", "transform", "prompt", "label", "train", "sink")
"""The stages that it runs, in the order of their turns."""


class SmallReads:
    """A log that gives at most so many records at once, so that a small input makes many commits. Else the log itself."""

    def __init__(self, log: TopicLog, at_most: int) -> None:
        self._log, self._at_most = log, at_most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(self, topic: str, offset: int, *, max_records: int = 10_000, **limits: int) -> list[Record]:
        return self._log.read(topic, offset, max_records=min(max_records, self._at_most), **limits)


def _as_read(log: TopicLog, at_most: int | None) -> Any:
    return SmallReads(log, at_most) if at_most else log


class Pipeline:
    """All stages but serve and mirror. Errors that may pass reopen a stage, as in a role's process; every other error leaves `turn`."""

    def __init__(
        self,
        topology: Topology,
        state: Path,
        *,
        learner: OpenLearner | None = None,
        clock: Clock = SYSTEM_CLOCK,
        holder: str = "pipeline",
        at_most: int | None = None,
        clock_of: Callable[[StageSpec], Clock] | None = None,
        seen: Callable[[TopicLog], Any] | None = None,
        opened: Callable[[StageSpec, StageContext], Stage | None] | None = None,
    ) -> None:
        """`learner`: opens each trainer's learner; None: PyTorch's. `at_most`: records that a stage reads from the log at once.

        `clock_of`: each stage's own clock; None: all go by `clock`. `seen`: the log as a stage sees it, in place of `at_most`.
        `opened`: opens a stage in its own way; where it gives None, the stage opens as usual.
        """
        self.topology, self.state, self.holder = topology.only(STEPPED), state, holder
        self.specs = sorted(self.topology.specs, key=lambda one: STEPPED.index(one.kind))
        """Of the stages, in the order of their turns."""
        self._clock, self._learner = clock, learner
        self._clock_of = clock_of or (lambda _: clock)
        self._seen = seen or (lambda log: _as_read(log, at_most))
        self._opened = opened or (lambda _spec, _context: None)
        self._log: TopicLog | None = None
        self.stages: list[ReopenedStage] = []
        self.errors: list[str] = []
        """Errors that may pass, in the order in which they came."""

    @property
    def log(self) -> TopicLog:
        """The log, once it is open."""
        if self._log is None:
            raise FinalError("the pipeline is not open")
        return self._log

    def open(self) -> None:
        """Opens the log and every stage, which takes the leases."""
        log = self._log = open_log(self.state, clock=self._clock)
        for opener in self._openers(log):
            stage = ReopenedStage(opener)
            self.stages.append(stage)
            stage.open()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def turn(self) -> bool:
        """One step of every stage, sources first. False: there was nothing to do."""
        worked = False
        for stage in self.stages:
            worked |= self.step(stage)
        return worked

    def step(self, stage: ReopenedStage) -> bool:
        """One step of one stage. False: it had nothing to do, or failed with an error that may pass."""
        try:
            return stage.step()
        except RetryableError as error:
            self.errors.append(f"{stage.name}: {error}")
            return False

    def replace(self, place: int) -> ReopenedStage:
        """Puts a stage that is not open yet in the place of another, as the restart of its process does; gives the other, which is dead."""
        dead = self.stages[place]
        self.stages[place] = ReopenedStage(self._openers(self.log)[place])
        return dead

    @property
    def idle(self) -> bool:
        """Whether everything is read, learned and written."""
        return is_idle(self.log, self.topology.specs, self.holder)

    def run(self, *, max_turns: int = MAX_TURNS) -> None:
        """Turns until it is idle; TimeoutError after `max_turns`, with the last error."""
        for _ in range(max_turns):
            if self.turn():
                continue
            if self.idle:
                return
            self._clock.sleep(PAUSE_SECONDS)
        raise TimeoutError(
            f"not done after {max_turns} turns; behind: {lags(self.log, self.topology.specs)}; {self.errors[-1:] or 'no error'}"
        )

    def close(self) -> None:
        """Ends every stage and closes the log; commits nothing."""
        for stage in self.stages:
            stage.close()
        if self._log:
            self._log.close()

    def _openers(self, log: TopicLog) -> Sequence[Callable[[], Stage]]:
        return [lambda one=one: self._open(one, self._context(one, log)) for one in self.specs]

    def _context(self, spec: StageSpec, log: TopicLog) -> StageContext:
        return StageContext(self._seen(log), self.holder, self.state, clock=self._clock_of(spec))

    def _open(self, spec: StageSpec, context: StageContext) -> Stage:
        if (stage := self._opened(spec, context)) is not None:
            return stage
        if self._learner and isinstance(spec.options, TrainOptions):
            return TrainStage(
                spec.options, context.log, context.holder, context.state, context.clock, learner=self._learner
            )
        opener = stage_type(spec.kind).open
        assert opener is not None
        return opener(spec, context)


def declared(file: Path, state: Path, *, checkpoint_interval_ms: int | None = None) -> Topology:
    """What a file of declarations needs to run on a state directory. InvalidDeclarationError says every mistake and what is not ready.

    `checkpoint_interval_ms` replaces the trainers' own; 0: a checkpoint after every step.
    """
    loaded = load([file])
    found = make_topology(loaded.resources, Settings(state=state), {})
    wrong = [*map(str, loaded.mistakes), *(f"{one.id.kind}/{one.id.name}: {one.message}" for one in found.not_ready)]
    if wrong:
        raise InvalidDeclarationError("; ".join(wrong), where=str(file))
    return found if checkpoint_interval_ms is None else with_interval(found, checkpoint_interval_ms)


def with_interval(topology: Topology, checkpoint_interval_ms: int) -> Topology:
    """The same with this interval for every trainer."""
    return replace(topology, specs=tuple(_with_interval(one, checkpoint_interval_ms) for one in topology.specs))


def _with_interval(spec: StageSpec, interval_ms: int) -> StageSpec:
    options = spec.options
    if not isinstance(options, TrainOptions):
        return spec
    return replace(spec, options=replace(options, checkpoint_interval_ms=interval_ms))


def snapshot(topology: Topology, state: Path) -> dict[str, Any]:
    """Everything that a kill must not change: topics, registries, weights, and the files that sinks wrote.

    Left out is what tells of the clock alone: times of arrival, of creation, and the event times of decisions and dead letters.
    """
    log = open_log(state)
    try:
        found: dict[str, Any] = {info.spec.name: _records(log, info.spec.name) for info in log.topics()}
        for one in topology.options(TrainOptions):
            name = one.id.full_name
            found[f"registry {name}"] = _registry(log, one.id)
            trained = read_train_state(log, one.id)
            found[f"weights {name}"] = trained.weights_sha256 if trained else None
    finally:
        log.close()
    for sink in topology.options(SinkStageOptions):
        folder = sink.sink.base_dir / str(sink.sink.options.get("path", "."))
        if sink.sink.type == "file":
            found[f"files {sink.sink.id.full_name}"] = {
                file.name: file.read_bytes() for file in sorted(folder.iterdir()) if not file.name.startswith(".")
            }
    return found


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Where two snapshots differ, a line each; empty where they are equal."""
    lines: list[str] = []
    for name in sorted(left.keys() | right.keys()):
        one, other = left.get(name), right.get(name)
        if one == other:
            continue
        if isinstance(one, list) and isinstance(other, list):
            place = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
            where = f"first at {place}: {one[place]} | {other[place]}" if place is not None else "one continues"
            lines.append(f"{name}: {len(one)} | {len(other)} records, {where}")
        else:
            lines.append(f"{name}: {str(one)[:500]} | {str(other)[:500]}")
    return lines


def _records(log: TopicLog, topic: str) -> list[tuple[Any, ...]]:
    timeless = ("decision/1", "dead/1", "command/1")
    return [
        (one.id, one.kind, one.key, one.value, None if one.kind in timeless else one.event_time, _origin(one))
        for one in read_all(log, topic)
    ]


def _origin(record: Record) -> str:
    return record.origin if record.kind != codec.CONTROL else ""


def _registry(log: TopicLog, finetuner: ResourceId) -> Any:
    found = registry.load(log, finetuner)
    if found is None:
        return None
    plain = msgspec.to_builtins(found[0])
    for version in plain["versions"]:
        del version["created_ms"]
    return plain
