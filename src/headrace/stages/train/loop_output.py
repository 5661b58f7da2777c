"""What a finetuner's loop gives, to be committed with the next checkpoint."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from headrace.learning.output import LearningOutput
from headrace.log.record import NewRecord
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
class LoopOutput(LearningOutput):
    """What was learned and decided, in the order in which it came about, and what that does to the registry."""

    moves: list[AliasMove] = field(default_factory=list[AliasMove])
    ends: list[tuple[int, NewRecord]] = field(default_factory=list[tuple[int, NewRecord]])
    """Ends of input, handed on behind the scores and decisions that came before them: (offset among the examples, the record)."""

    def extend(self, other: LearningOutput) -> None:
        LearningOutput.extend(self, other)
        if isinstance(other, LoopOutput):
            self.moves += other.moves
            self.ends += other.ends


def moved(registry: Registry, moves: list[AliasMove], *, keep_alias: bool) -> Registry:
    """The registry after the moves. `keep_alias`: a person moved the alias meanwhile; versions are added, the alias is theirs."""
    for move in moves:
        if move.added is not None and move.version not in {one.name for one in registry.versions}:
            added = msgspec.structs.replace(move.added, parent=registry.served, base=registry.base)
            registry = registry.with_version(added)
        if keep_alias or move.kind == "added" or registry.served == move.version:
            continue
        registry = registry.promote(move.version) if move.kind == "promoted" else _rolled_back(registry, move.version)
    return registry


def _rolled_back(registry: Registry, version: str) -> Registry:
    return registry.rollback() if registry.previous == version else registry.promote(version)
