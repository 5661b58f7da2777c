"""observe: what happened so far, read from the log piece by piece, for the live view and the dashboard."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.control.idleness import lags
from headrace.events import codec, topics
from headrace.events.decision import Decision
from headrace.events.example import Example
from headrace.events.message import Message
from headrace.events.score import Score
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog
from headrace.stages.stage import StageStatus, read_statuses
from headrace.stages.topology import Topology

MODELS = ("learner", "served", "majority")
AVERAGED = 200
"""Examples behind a point of a curve."""
EVERY = 20
"""Examples between two points."""


@dataclass(slots=True)
class Curves:
    """Rolling exact match of the learner, the served version and the majority answer over the last examples."""

    offsets: list[int] = field(default_factory=list[int])
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MODELS})
    _recent: dict[str, deque[bool]] = field(default_factory=lambda: {name: deque(maxlen=AVERAGED) for name in MODELS})
    _seen: int = 0

    def take(self, score: Score) -> None:
        """Adds a score that is not an anchor's."""
        hits = {one.model: one.exact for one in score.models} | {"majority": score.majority_exact}
        for name in MODELS:
            if name in hits:
                self._recent[name].append(hits[name])
        self._seen += 1
        if self._seen % EVERY == 0:
            self.offsets.append(score.offset)
            for name in MODELS:
                recent = self._recent[name]
                self.values[name].append(sum(recent) / len(recent) if recent else 0.0)


@dataclass(slots=True)
class FinetunerProgress:
    """The progress of one finetuner."""

    id: ResourceId
    examples: int = 0
    curves: Curves = field(default_factory=Curves)
    decisions: list[Decision] = field(default_factory=list[Decision])
    last_messages: list[Message] = field(default_factory=list[Message])
    last_answer: str = ""
    _score_offset: int = 0
    _decision_offset: int = 0

    def read(self, log: TopicLog, known: Mapping[str, int]) -> None:
        """Reads what is new since the last call."""
        scores = topics.scores(self.id)
        for record in log.read(scores, self._score_offset, max_records=20_000) if known.get(scores) else ():
            self._score_offset = record.offset + 1
            if not codec.is_data(record):
                continue
            score = codec.decode(record, Score)
            if not score.anchor:
                self.curves.take(score)
        decisions = topics.decisions(self.id)
        for record in log.read(decisions, self._decision_offset) if known.get(decisions) else ():
            self._decision_offset = record.offset + 1
            if not codec.is_data(record):
                continue
            self.decisions.append(codec.decode(record, Decision))
        self._read_last(log, topics.examples(self.id), known)

    def _read_last(self, log: TopicLog, topic: str, known: Mapping[str, int]) -> None:
        end = known.get(topic, 0)
        self.examples = end
        for record in log.read(topic, max(0, end - 2), max_records=2) if end else ():
            if record.kind == codec.KINDS[Example]:
                example = codec.decode(record, Example)
                self.last_messages, self.last_answer = example.messages, example.answer


class Progress:
    """Everything about one topology."""

    def __init__(self, log: TopicLog, topology: Topology) -> None:
        self._log, self._topology = log, topology
        self.finetuners = [FinetunerProgress(one.id) for one in topology.of_kind("train")]
        self.ends: dict[str, int] = {}
        self.lags: dict[str, int] = {}
        self.statuses: list[StageStatus] = []

    def lag(self, namespace: str) -> int:
        """Records that the stages of a namespace still have to read, without the mirror, which nothing waits for."""
        waited = {one.name for one in self._topology.specs if one.id.namespace == namespace and one.kind != "mirror"}
        return sum(lag for group, lag in self.lags.items() if group in waited)

    def events(self, namespace: str) -> int:
        """Records of the sources of a namespace."""
        return sum(
            end for name, end in self.ends.items() if name.startswith(f"{namespace}.") and name.endswith(".events")
        )

    def read(self) -> None:
        """Reads what is new since the last call."""
        self.ends = {info.spec.name: info.end_offset for info in self._log.topics()}
        self.lags = lags(self._log, self._topology.specs)
        self.statuses = read_statuses(self._log)
        for one in self.finetuners:
            one.read(self._log, self.ends)

    def figure(self, resource: str, stage: str, name: str) -> int | float | str | None:
        """One figure that a stage reports."""
        for status in self.statuses:
            if status.resource == resource and status.stage == stage:
                return status.progress.get(name)
        return None
