"""What goes into a store: versions of documents, split into chunks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.foundation.ids import derive_id

SINCE_EVER = -(1 << 62)
FOREVER = 1 << 62
"""Ends of intervals, in ms since 1970 UTC like everything between them."""

CANARY = "\x01canary"
"""Documents with this id prefix measure freshness: only queries that ask for them find them, and counts exclude them."""

Scalar = str | int | float | bool
"""A value in a document's metadata."""


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A document's new version, or its deletion."""

    document: str
    """Its permanent id."""
    version: str
    """The displayed name, also in citations."""
    order: str
    """Versions of a document sort by this, bytewise; anything not newer than the newest known version is ignored."""
    deleted: bool
    text: str
    """Empty if deleted."""
    seen_ms: int
    """When it entered the log."""
    stream_ms: int
    """The stream's time when it arrived."""
    title: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    valid_from_ms: int | None = None
    """When it becomes valid, if the document says so."""
    media: str = "markdown"
    """markdown or plain: how its text is chunked."""

    @property
    def visible_from(self) -> int:
        """On the arrival timeline: once it has been seen and is valid."""
        return max(self.seen_ms, self.valid_from_ms) if self.valid_from_ms is not None else self.seen_ms


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, and its position in it."""

    index: int
    """From 0."""
    text: str
    headings: tuple[str, ...] = ()
    """The headings above it, outermost first, including the document's title."""
    start: int = 0
    """Its offset in the document, in characters."""
    terms: Mapping[str, int] = field(default_factory=dict[str, int])
    """The count of each term: `analysis.term_counts` of `embedded`."""

    @property
    def embedded(self) -> str:
        """The text behind its vector and terms: the headings, then the text."""
        return "\n".join((" > ".join(self.headings), self.text)) if self.headings else self.text

    @property
    def hash(self) -> str:
        """Identifies the vector: equal for equal `embedded` texts."""
        return derive_id("chunk", self.embedded)


@dataclass(frozen=True, slots=True)
class Revision:
    """A change with its chunks in each generation that takes live changes."""

    change: DocumentChange
    chunks: Mapping[str, tuple[Chunk, ...]] = field(default_factory=dict[str, tuple[Chunk, ...]])
    """By generation id; empty if deleted."""


def interval_ends(starts: list[int]) -> list[int]:
    """The ends of the intervals of one document's versions, given their starts in version order: the newest version wins.

    A version is valid from its start until the earliest start of any newer one; one that is never valid ends where it starts.
    """
    ends: list[int] = []
    nearest = FOREVER
    for start in reversed(starts):
        ends.append(max(start, nearest) if nearest < FOREVER else FOREVER)
        nearest = min(nearest, start)
    return ends[::-1]
