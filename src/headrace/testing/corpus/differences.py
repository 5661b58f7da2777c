"""What an engine on a cluster does not give as the engine in the process does, query by query: strict, each with its reason.

A query that stands here and is equal all the same fails its test: the line must go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Known:
    """`refused`: planning says so, data are never wrong. `late`: equal rows, other late rows. `differs`: other rows. `fails`: no end."""

    kind: Literal["refused", "late", "differs", "fails"]
    reason: str


_SESSION = Known("late", "Flink leaves rows out that come after their session, and does not say which")
FLINK: Mapping[str, Known] = {
    "a session ends after its gap, per key": _SESSION,
    "a session without keys takes all rows together": _SESSION,
    "a WHERE does not move a session's borders": _SESSION,
    "readings: sessions": _SESSION,
    "readings: sessions of filtered rows": _SESSION,
}
"""By the query's name."""
