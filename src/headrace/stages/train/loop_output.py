"""What a finetuner's loop gives, to be committed with the next checkpoint."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from headrace.events import codec
from headrace.events.dead_letter import DeadLetter
from headrace.events.decision import Decision
from headrace.events.origin import Origin, encode_origin
from headrace.events.score import Score
from headrace.log.record import NewRecord, Record
from headrace.promotion.registry import Registry, Version


@dataclass(frozen=True, slots=True)
class AliasMove:
    """What a verdict does to the registry."""

    kind: Literal["added", "promoted", "rolled_back"]
    version: str
    offset: int
    """The last example of its evidence."""
    added: Version | None = None
    """The version's entry, where it is new."""


@dataclass(slots=True)
class LoopOutput:
    """Scores, decisions, dead letters and moves, in the order in which they came about."""

    scores: list[tuple[int, NewRecord]] = field(default_factory=list[tuple[int, NewRecord]])
    """(the example's offset, the record)"""
    decisions: list[Decision] = field(default_factory=list[Decision])
    dead: list[DeadLetter] = field(default_factory=list[DeadLetter])
    moves: list[AliasMove] = field(default_factory=list[AliasMove])
    ends: list[tuple[int, NewRecord]] = field(default_factory=list[tuple[int, NewRecord]])
    """Ends of input, handed on behind the scores and decisions that came before them: (offset among the examples, the record)."""
    signs: set[int] = field(default_factory=set[int])
    """Offsets of signs that led to decisions. They fall when the sign is taken, not when the examples before it are scored."""
    must_commit: bool = False

    def extend(self, other: "LoopOutput") -> None:
        self.scores += other.scores
        self.decisions += other.decisions
        self.dead += other.dead
        self.moves += other.moves
        self.ends += other.ends
        self.signs |= other.signs
        self.must_commit |= other.must_commit


def score_record(score: Score, source: Record, topic: str) -> NewRecord:
    """The record of a score; it carries its example's id and times, and comes from it. `topic`: where the example lies."""
    return NewRecord(
        score.example_id,
        codec.kind_of(score),
        codec.encode(score),
        source.event_time,
        key=score.example_id,
        origin=encode_origin(Origin(topic=topic, offset=source.offset, id=source.id)),
        ingested_at=source.ingested_at,
    )


def moved(registry: Registry, moves: list[AliasMove], *, keep_alias: bool) -> Registry:
    """The registry after the moves. `keep_alias`: a person moved the alias meanwhile; versions are added, the alias is theirs."""
    for move in moves:
        if move.added is not None and move.version not in {one.name for one in registry.versions}:
            registry = registry.with_version(msgspec.structs.replace(move.added, parent=registry.served))
        if keep_alias or move.kind == "added" or registry.served == move.version:
            continue
        registry = registry.promote(move.version) if move.kind == "promoted" else _rolled_back(registry, move.version)
    return registry


def _rolled_back(registry: Registry, version: str) -> Registry:
    return registry.rollback() if registry.previous == version else registry.promote(version)
