"""The output of learning, to be committed with the next checkpoint."""

from dataclasses import dataclass, field

from headrace.events import codec
from headrace.events.dead_letter import DeadLetter
from headrace.events.decision import Decision
from headrace.events.origin import Origin, encode_origin
from headrace.events.score import Score
from headrace.log.record import NewRecord, Record


@dataclass(slots=True)
class LearningOutput:
    """Scores, decisions and dead letters, in the order they arose."""

    scores: list[tuple[int, NewRecord]] = field(default_factory=list[tuple[int, NewRecord]])
    """(the example's offset, the record)"""
    decisions: list[Decision] = field(default_factory=list[Decision])
    dead: list[DeadLetter] = field(default_factory=list[DeadLetter])
    signs: set[int] = field(default_factory=set[int])
    """Offsets of signs that led to decisions. Decisions are made when the sign is taken, not when the examples before it are scored."""
    must_commit: bool = False

    def extend(self, other: "LearningOutput") -> None:
        self.scores += other.scores
        self.decisions += other.decisions
        self.dead += other.dead
        self.signs |= other.signs
        self.must_commit |= other.must_commit


def score_record(score: Score, source: Record, topic: str) -> NewRecord:
    """The record of a score, with its example's id, times and origin. `topic`: the example's topic."""
    return NewRecord(
        score.example_id,
        codec.kind_of(score),
        codec.encode(score),
        source.event_time,
        key=score.example_id,
        origin=encode_origin(Origin(topic=topic, offset=source.offset, id=source.id)),
        ingested_at=source.ingested_at,
    )
