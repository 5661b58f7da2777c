"""What goes into a store: documents' versions, cut into chunks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.foundation.ids import derive_id

SINCE_EVER = -(1 << 62)
FOREVER = 1 << 62
"""Ends of intervals, in ms since 1970 UTC like everything between them."""

CANARY = "\x01canary"
"""Documents whose id starts so measure freshness: no query finds them unless it asks for them, no count has them."""

Scalar = str | int | float | bool
"""A value of a document's metadata."""


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A document's new version, or its end."""

    document: str
    """Its permanent id."""
    version: str
    """The name that people see, in citations too."""
    order: str
    """Versions of one document sort by this, byte by byte; whatever is not newer than the newest known one is ignored."""
    deleted: bool
    text: str
    """Empty where deleted."""
    seen_ms: int
    """When it entered the log."""
    stream_ms: int
    """The stream's time at which it arrived."""
    title: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    valid_from_ms: int | None = None
    """Since when it is true, where it says so."""
    media: str = "markdown"
    """markdown or plain: how its text is cut."""

    @property
    def visible_from(self) -> int:
        """On the arrival timeline: once it has been seen and is true."""
        return max(self.seen_ms, self.valid_from_ms) if self.valid_from_ms is not None else self.seen_ms


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, and its place in it."""

    index: int
    """From 0."""
    text: str
    headings: tuple[str, ...] = ()
    """The titles above it, outermost first; the document's own title among them."""
    start: int = 0
    """Characters of the document before it."""
    terms: Mapping[str, int] = field(default_factory=dict[str, int])
    """How often it has each term: `analysis.term_counts` of `embedded`."""

    @property
    def embedded(self) -> str:
        """What its vector and its terms are made of: the headings, then the text."""
        return "\n".join((" > ".join(self.headings), self.text)) if self.headings else self.text

    @property
    def hash(self) -> str:
        """Names the vector: equal for equal `embedded` texts."""
        return derive_id("chunk", self.embedded)


@dataclass(frozen=True, slots=True)
class Revision:
    """A change with its chunks in each generation that takes live changes."""

    change: DocumentChange
    chunks: Mapping[str, tuple[Chunk, ...]] = field(default_factory=dict[str, tuple[Chunk, ...]])
    """By generation id; empty where deleted."""


def interval_ends(starts: list[int]) -> list[int]:
    """Where the intervals of one document's versions end, given where each would start, in order of version: the newest wins.

    A version holds from its start until the earliest start of any newer one; one that never holds ends where it starts.
    """
    ends: list[int] = []
    nearest = FOREVER
    for start in reversed(starts):
        ends.append(max(start, nearest) if nearest < FOREVER else FOREVER)
        nearest = min(nearest, start)
    return ends[::-1]
