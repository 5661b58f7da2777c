"""A state directory, its stages and their clocks: what the scheduler steps, kills and starts again."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.control.idleness import lags
from headrace.control.stage_thread import ReopenedStage
from headrace.foundation.clock import Clock
from headrace.foundation.errors import RetryableError
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest import stage as ingest
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.label.options import LabelOptions
from headrace.stages.stage_spec import StageSpec
from headrace.stages.topology import Topology
from headrace.stages.train.options import TrainOptions
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import MAX_TURNS, Pipeline, declared, with_interval
from headrace.testing.simulation.clocks import WaitingClock, WorldClock
from headrace.testing.simulation.declarations import NAMESPACES, declarations
from headrace.testing.simulation.drawn_reads import DrawnReads
from headrace.testing.simulation.inputs import Edit, Feed, Inputs, Moment, Quiet
from headrace.testing.simulation.teachers import Teachers

TopologyOf = Callable[[Path, Path], Topology]
IDLE_SECONDS = 3_700.0
"""More than the idle timeout that is declared."""
KEEPING_UP = ("ingest", "transform")
CHECKPOINT_INTERVALS_MS = (0, 1_000, 60_000)


class World:
    """Owns `folder`, where the inputs are laid out."""

    def __init__(
        self, inputs: Inputs, folder: Path, topology_of: TopologyOf = declared, draw: random.Random | None = None
    ) -> None:
        """`topology_of`: what a file of declarations needs to run. `draw`: how many records each read gives; None: all."""
        self.inputs, self._folder, self._draw = inputs, folder, draw
        self._topology_of = topology_of
        self.state = folder / "state"
        self.clock = WorldClock()
        self._trainers_clock = WaitingClock(self.clock)
        self.checkpoint_interval_ms = draw.choice(CHECKPOINT_INTERVALS_MS) if draw else CHECKPOINT_INTERVALS_MS[-1]
        self._clocks: dict[ResourceId, WaitingClock] = {}
        self._lines: dict[ResourceId, int] = {}
        self._dead: list[Pipeline | ReopenedStage] = []
        self.teachers = Teachers(draw)
        self._starts = 0
        self._reads: list[DrawnReads] = []
        self.pipeline = self._new()

    # --- life and death ---

    def open(self) -> None:
        """Starts every stage; what is full or away is tried again until it passes."""
        while True:
            try:
                self.pipeline.open()
            except RetryableError:
                self.kill()
            else:
                return

    def kill(self) -> None:
        """Drops the stages as a kill would. `open` starts others."""
        for namespace in NAMESPACES:
            self.teachers.kill(namespace)
        self._dead.append(self.pipeline)
        self.pipeline = self._new()

    def kill_stage(self, place: int) -> None:
        """Drops one stage, as the kill of its process would; its next step opens another."""
        spec = self.pipeline.specs[place]
        if spec.kind == "label" and spec.id.name == "desk":
            self.teachers.kill(spec.id.namespace)
        self._dead.append(self.pipeline.replace(place))

    def close(self) -> None:
        for one in (*self._dead, self.pipeline):
            one.close()

    def _new(self) -> Pipeline:
        self._starts += 1
        self._reads.clear()
        found = self._topology_of(self._folder / "job.yaml", self.state)
        return Pipeline(
            with_interval(found, self.checkpoint_interval_ms), self.state, learner=open_light_learner, clock=self.clock, holder=f"process {self._starts}",
            clock_of=self._clock_of, seen=self._seen, opened=self.teachers.opened,
        )  # fmt: skip

    def _seen(self, log: TopicLog) -> Any:
        if self._draw is None:
            return log
        reads = DrawnReads(log, self._draw)
        self._reads.append(reads)
        return reads

    def _clock_of(self, spec: StageSpec) -> Clock:
        if isinstance(spec.options, IngestOptions):
            return self._input_clock(spec.id)
        if isinstance(spec.options, LabelOptions):
            return self.teachers.services[spec.id.namespace].clock
        return self._trainers_clock if isinstance(spec.options, TrainOptions) else self.clock

    def _input_clock(self, connector: ResourceId) -> WaitingClock:
        return self._clocks.setdefault(connector, WaitingClock(self.clock))

    # --- what happens outside ---

    def begin(self, moment: Moment) -> None:
        """The moment has come; `taken_in` says when the topics have it. The stages are started in the first one."""
        self.clock.reach(moment.at_ms)
        for one in moment.happenings:
            if isinstance(one, Feed):
                with (self._folder / f"{one.connector.namespace}-{one.connector.name}.jsonl").open("ab") as file:
                    file.write(one.data)
                self._lines[one.connector] = one.lines
            elif isinstance(one, Edit):
                self.drain()
                text = declarations(self.inputs.shape, one.declared)
                (self._folder / "job.yaml").write_text(text, "utf-8")
                self.restart()
        if not self.stages:
            self.open()

    def restart(self) -> None:
        """Ends the stages in order and starts them with what is declared now."""
        self.pipeline.close()
        self.pipeline = self._new()
        self.open()

    def taken_in(self, moment: Moment) -> bool:
        """Whether every input's topic has what the moment brought. An input that must be quiet waits on."""
        return all(self._has(one) for one in moment.happenings)

    def _has(self, happening: Feed | Quiet | Edit) -> bool:
        if isinstance(happening, Edit):
            return True
        found = ingest.read_state(self.pipeline.log, happening.connector)
        if isinstance(happening, Feed):
            taken = found.rows + found.dead + found.duplicates if found else 0
            return taken >= self._lines[happening.connector]
        if found is not None and found.idle:
            return True
        self._input_clock(happening.connector).sleep(IDLE_SECONDS)
        return False

    # --- steps ---

    @property
    def stages(self) -> Sequence[ReopenedStage]:
        return self.pipeline.stages

    def ingests(self) -> list[ReopenedStage]:
        return [stage for stage, spec in zip(self.stages, self.pipeline.specs, strict=True) if spec.kind == "ingest"]

    def step(self, stage: ReopenedStage) -> bool:
        return self.pipeline.step(stage)

    def keep_up(self) -> None:
        """Steps inputs and queries until nothing that has arrived is left to them."""
        stages = [one for one, spec in zip(self.stages, self.pipeline.specs, strict=True) if spec.kind in KEEPING_UP]
        for _ in range(MAX_TURNS):
            worked = [self.step(one) for one in stages]
            if not any(worked):
                return
        raise TimeoutError(f"inputs and queries do not come to an end in {MAX_TURNS} turns")

    def drain(self) -> None:
        """Steps everything until nothing is left to read; followed inputs have no end of their own."""
        self._patient(patient=True)
        for _ in range(MAX_TURNS):
            if self.pipeline.turn():
                continue
            if not any(self.behind().values()):
                break
            self.teachers.rest()
            self._trainers_clock.sleep(CHECKPOINT_INTERVALS_MS[-1] / 1000)
        else:
            raise TimeoutError(
                f"not done after {MAX_TURNS} turns; behind: {self.behind()}; {self.pipeline.errors[-1:]}"
            )
        self._patient(patient=False)

    def _patient(self, *, patient: bool) -> None:
        """Everything that is there is read, and the first answer is waited for."""
        self.teachers.patient = patient
        for one in self._reads:
            one.whole = patient

    def behind(self) -> dict[str, int]:
        """Records that each stage has still to read."""
        return lags(self.pipeline.log, self.pipeline.specs)
