"""Declared resources on a state directory of their own: applied, run, changed, looked at. Every stage, log and file is real."""

import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headrace.control.asking import performed_here
from headrace.control.declared_changes import Declared, apply_declared, declared_changes
from headrace.control.resource_store import ResourceStore
from headrace.events import codec
from headrace.events.control import Control
from headrace.foundation.settings import Settings
from headrace.kinds.catalog import Resource, read_text
from headrace.kinds.topology import topology
from headrace.log.record import Record
from headrace.log.registry import open_log
from headrace.stages.stage import Condition, read_statuses
from headrace.stages.topology import Topology
from headrace.testing.builders import read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.pipeline import Pipeline

from ..declared_desk import Lesson, Watched  # noqa: TID252 - it stands beside the tests

GONE = object()
"""In place of a value: the key is left out."""
Spec = dict[str, Any]
Docs = dict[str, Spec]
"""Specs by `Kind/name`."""
QUIET_TURNS = 3
MOST_TURNS = 3_000


def changed(spec: Spec, places: Mapping[str, Any]) -> Spec:
    """The spec with other values at places such as `file.path` or `promptTemplate.0.userQuestion`."""
    found = copy.deepcopy(spec)
    for place, value in places.items():
        steps = [int(one) if one.isdigit() else one for one in place.split(".")]
        inner: Any = found
        for step in steps[:-1]:
            inner = inner[step] if isinstance(step, int) else inner.setdefault(step, {})
        if value is GONE:
            inner.pop(steps[-1], None)
        elif isinstance(inner, list) and steps[-1] == len(inner):
            inner.append(value)
        else:
            inner[steps[-1]] = value
    return found


@dataclass
class House:
    """What is declared, in a folder. The first of `docs` is the resource whose fields a case changes."""

    folder: Path
    docs: Docs
    kinds: frozenset[str] | None = None
    """Types of stages that run; None: all."""
    waits: float = 0.0
    """Seconds that pass in each run, once everything is read."""
    meanwhile: Callable[["House"], None] | None = None
    """Happens in a run once everything is read, before it waits."""
    around: Callable[["House"], AbstractContextManager[object]] = lambda _: nullcontext()
    """Lasts while a run does."""
    ends: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Called when nothing runs any more, to end servers."""
    clock: VirtualClock = field(default_factory=VirtualClock)
    runs: int = 0
    fed: int = 0
    """How often input has come."""
    lessons: list[Lesson] = field(default_factory=list[Lesson])
    """What the learner was given since input came last."""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a setting keeps beside it, such as a server."""

    def __post_init__(self) -> None:
        self.settings = Settings(state=self.folder / "state", tracking="none")
        self.log = open_log(self.settings.state, clock=self.clock)
        self.store = ResourceStore(self.log)

    def resources(self) -> list[Resource]:
        """As the files declare them now. AssertionError shows the mistakes."""
        texts = [_document(name, spec) for name, spec in self.docs.items()]
        loaded = read_text("---\n".join(texts), "headrace.yaml", str(self.folder))
        assert loaded.mistakes == [], [str(one) for one in loaded.mistakes]
        return loaded.resources

    @property
    def title(self) -> str:
        """`Kind/name` of the resource that the case is about."""
        return next(iter(self.docs))

    def edit(self, places: Mapping[str, Any], title: str = "") -> None:
        """Changes a file."""
        name = title or self.title
        self.docs[name] = changed(self.docs[name], places)

    def told(self) -> Declared:
        """What `plan` says."""
        return declared_changes(self.store.all(), self.resources(), self.log, self.settings)

    def apply(self, *, reset: bool = False) -> Declared:
        """What `apply` does, with `--reset` or without."""
        found = self.told()
        apply_declared(found, self.resources(), self.store, self.clock, reset=reset)
        if reset:
            assert performed_here(self.log, self.settings, self.topology, self.clock)
        return found

    def topology(self) -> Topology:
        """Of what is applied."""
        found = topology(self.store.all(), self.settings)
        assert found.not_ready == (), found.not_ready
        return found

    def run(self) -> None:
        """Runs what is applied until nothing is left to do."""
        self.runs += 1
        found = self.topology()
        specs = [one for one in found.specs if self.kinds is None or one.kind in self.kinds]
        pipeline = Pipeline(
            Topology(tuple(specs)), self.settings.state, learner=lambda options: Watched(options, self.lessons),
            clock=self.clock, holder=f"run {self.runs}",
        )  # fmt: skip
        with self.around(self), pipeline:
            self._settle(pipeline)
            if self.meanwhile is not None:
                self.meanwhile(self)
                self._settle(pipeline)
            if self.waits:
                self.clock.advance(self.waits)
                self._settle(pipeline)

    def _settle(self, pipeline: Pipeline) -> None:
        quiet = 0
        for _ in range(MOST_TURNS):
            quiet = 0 if pipeline.turn() else quiet + 1
            if quiet == QUIET_TURNS:
                self.extra["errors"] = pipeline.errors
                return
        raise TimeoutError(f"not quiet after {MOST_TURNS} turns: {pipeline.errors[-1:]}")

    # What is there

    def records(self, topic: str, *kinds: str) -> list[Record]:
        """Of a topic in the namespace; `kinds`: of these alone."""
        found = read_all(self.log, f"default.{topic}")
        return [one for one in found if not kinds or one.kind in kinds]

    def rows(self, topic: str) -> list[Record]:
        return self.records(topic, codec.ROW)

    def decoded(self, topic: str, payload: type[Any]) -> list[Any]:
        return [codec.decode(one, payload) for one in self.records(topic, codec.KINDS[payload])]

    def signs(self, topic: str) -> list[str]:
        return [codec.decode(one, Control).sign for one in self.records(topic, codec.CONTROL)]

    def conditions(self, stage: str) -> dict[str, Condition]:
        """Of one type of stage, by their type."""
        return {
            one.type: one for status in read_statuses(self.log) if status.stage == stage for one in status.conditions
        }

    def progress(self, stage: str) -> Mapping[str, Any]:
        return next(one.progress for one in read_statuses(self.log) if one.stage == stage)

    def write(self, name: str, lines: Iterable[str]) -> None:
        """Appends lines to a file beside the declarations."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def close(self) -> None:
        self.log.close()
        for end in self.ends:
            end()


_API = {"StreamConnector": "streams.nstream.ai/v1"}


def _document(title: str, spec: Spec) -> str:
    kind, _, name = title.partition("/")
    declared = {
        "apiVersion": _API.get(kind, "llm.nstream.ai/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip
    return yaml.safe_dump(declared, sort_keys=False)
