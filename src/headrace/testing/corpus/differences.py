"""What an engine on a cluster does not give as the engine in the process does, query by query: strict, each with its reason.

A query that stands here and is equal all the same fails its test: the line must go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["refused", "late", "differs", "fails"]


@dataclass(frozen=True, slots=True)
class Known:
    """One difference."""

    kind: Kind
    """`refused`: said before a row flows. `late`: equal rows, other late rows. `differs`: other rows. `fails`: the job has no end."""
    reason: str


_SESSION = Known("late", "Flink leaves rows out that come after their session, and does not say which")
FLINK: Mapping[str, Known] = {
    "a session ends after its gap, per key": _SESSION,
    "a session without keys takes all rows together": _SESSION,
    "a WHERE does not move a session's borders": _SESSION,
    "readings: sessions": _SESSION,
    "readings: sessions of filtered rows": _SESSION,
    "generated: sessions": _SESSION,
}  # fmt: skip
"""By the query's name."""
