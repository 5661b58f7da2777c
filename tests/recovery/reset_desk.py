"""A laid-out job that is run, reset and run again, in one process."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from headrace.control.performing import perform_pending
from headrace.control.requests import Request, RequestOutcome, fetch_outcome, submit
from headrace.events import codec
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import Record
from headrace.log.registry import open_log
from headrace.stages.context import StageContext
from headrace.stages.topology import Topology
from headrace.teachers.answer_store import kept
from headrace.teachers.ledger import Spending
from headrace.testing.builders import read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline, declared

LayOut = Callable[[str, Path], None]


class ResetDesk:
    """A job in a folder."""

    def __init__(self, job: str, folder: Path, lay_out: LayOut, *, questions: int | None = None) -> None:
        """`questions`: that a teacher is asked."""
        folder.mkdir()
        lay_out(job, folder)
        file = folder / "questions-1.jsonl"
        if questions is not None:
            file.write_text("".join(file.read_text().splitlines(keepends=True)[:questions]))
        self.folder, self.state = folder, folder / "state"

    @property
    def topology(self) -> Topology:
        return declared(self.folder / "job.yaml", self.state, checkpoint_interval_ms=0)

    def run(self) -> None:
        clock = SYSTEM_CLOCK if (self.folder / "questions-1.jsonl").exists() else VirtualClock()
        with Pipeline(self.topology, self.state, learner=open_light_learner, clock=clock) as pipeline:
            pipeline.run()

    def perform(self, verb: Any, resource: str, start: str = "") -> RequestOutcome:
        """Asks and performs."""
        log = open_log(self.state)
        try:
            context = StageContext(log, "test", self.state)
            key = submit(log, Request(verb, resource, start), context.clock)
            perform_pending(lambda: self.topology, context, lambda _: nullcontext())
            outcome = fetch_outcome(log, key)
            assert outcome is not None
            return outcome
        finally:
            log.close()

    def perform_left(self) -> None:
        """Performs what a kill has left, as a start does."""
        log = open_log(self.state)
        try:
            perform_pending(lambda: self.topology, StageContext(log, "next", self.state), lambda _: nullcontext())
        finally:
            log.close()

    def records(self, topic: str) -> list[Record]:
        log = open_log(self.state)
        try:
            return [one for one in read_all(log, topic) if one.kind != codec.CONTROL]
        finally:
            log.close()

    def contents(self) -> dict[str, Any]:
        """What the finetuners made, without places: a reset moves everything on in its topic."""
        wanted = [topic.name for one in self.topology.specs for topic in one.writes]
        log = open_log(self.state)
        try:
            known = {info.spec.name for info in log.topics()}
        finally:
            log.close()
        made = [
            name
            for name in wanted
            if name in known and name.split(".")[-1] in ("events", "rows", "late", "prompts", "examples")
        ]
        return {name: [(one.id, one.value, one.event_time) for one in self.records(name)] for name in made}

    def spent(self, name: str = "desk") -> Spending:
        [spec] = [one for one in self.topology.of_kind("label") if one.id.name == name]
        return kept(self.state / "teachers.sqlite", spec.id).spending
