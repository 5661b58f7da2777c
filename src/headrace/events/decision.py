"""`decision/1`: a recorded training or promotion event, with its evidence."""

from typing import Literal

import msgspec

DecisionKind = Literal[
    "cut",
    "promoted",
    "rejected",
    "rolled_back",
    "confirmed",
    "drift",
    "documents",
    "anchors",
    "awaiting_approval",
    "declaration",
]


class Bound(msgspec.Struct, frozen=True):
    """A mean and its confidence interval at a level, valid at any time."""

    mean: float
    lower: float
    upper: float
    rows: int
    alpha: float


class Decision(msgspec.Struct, frozen=True):
    """Record id: derive_id(finetuner, kind, subject, offset)."""

    kind: DecisionKind
    subject: str
    """The candidate, version or declaration it is about."""
    reason: str
    """A sentence for people."""
    first_offset: int
    """First example of the evidence …"""
    last_offset: int
    """… and last, inclusive."""
    difference: Bound | None = None
    """The metric's difference, candidate minus served, per fresh row."""
    anchors: Bound | None = None
    """The same on the anchors."""
    anchor_version: int = 0
    manual: bool = False
    details: dict[str, str | float | int | bool] = {}


class Command(msgspec.Struct, frozen=True):
    """`command/1`: a manual promotion or rollback; the alias has already moved when this is written."""

    action: Literal["promote", "rollback"]
    version: str
    reason: str = ""
