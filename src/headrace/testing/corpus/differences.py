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
_NULL_KEYS = Known("differs", "Flink finds NULL equal to NULL where streams are joined")
FLINK: Mapping[str, Known] = {
    "a session ends after its gap, per key": _SESSION,
    "a session without keys takes all rows together": _SESSION,
    "a WHERE does not move a session's borders": _SESSION,
    "readings: sessions": _SESSION,
    "readings: sessions of filtered rows": _SESSION,
    "generated: sessions": _SESSION,
    "readings: the latest row of another stream": _NULL_KEYS,
    "readings: each row, with the latest of another stream": _NULL_KEYS,
    "readings: a filter before and behind a join of streams": _NULL_KEYS,
    "readings: a reckoning over joined streams": _NULL_KEYS,
    "readings: a window over joined streams": _NULL_KEYS,
    "readings: a NULL that has no type": Known("refused", "a NULL beside AND, OR and NOT has no type for Flink"),
    "readings: constants below one": Known("fails", "a constant such as 0.1 does not fit the type that it has on Flink"),
    "readings: decimals keep their digits": Known("differs", "Flink cuts the product of two DECIMALs whose digits are more than 38 together"),
    "readings: hexadecimal text is no number": Known("differs", "the engine in the process takes '0x1F' for 31"),
    "readings: numbers in JSON": Known("differs", "JSON_VALUE gives 1.50 as it stands on Flink, as 1.5 in the process"),
    "readings: NULL in JSON": Known("differs", "JSON_EXISTS of a null is TRUE in the process only"),
    "readings: capitals of letters that have none": Known("differs", "UPPER('ß') is SS on Flink, ẞ in the process"),
    "readings: letters in reverse": Known("differs", "REVERSE keeps signs of several code points together in the process only"),
    "readings: sums and means of long numbers": Known("differs", "the mean of sums beyond 2^53 differs in its last digit"),
    "readings: sums of negative zeros": Known("differs", "a sum of −0.0 alone is 0.0 in the process"),
    "readings: a renamed time below the window": Known("differs", "the engine in the process loses a WHERE below a window of which no column is read"),
    "readings: functions of numbers": Known("fails", "DECIMALs of several lengths cannot be read from the job's output"),
    "readings: sessions by two keys": Known("refused", "Flink does not find the second key of a SESSION"),
}  # fmt: skip
"""By the query's name."""
