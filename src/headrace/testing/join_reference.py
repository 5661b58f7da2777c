"""A join of two streams worked out one row at a time, in plain Python, from each side's own sequence: what the engine must equal."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

BEGINNING = -(1 << 60)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a side. `time` in ms; `arrived`: when it came in, ms since 1970 UTC."""

    time: int
    key: str
    value: int
    arrived: int


Sequence_ = Sequence[Row | str]
"""Rows, and signs: `idle` or `end`."""


@dataclass(slots=True)
class Join:
    """What comes out, given that each side ends."""

    rows: list[tuple[int, Row, Row | None]] = field(default_factory=list[tuple[int, Row, "Row | None"]])
    """(how many ends of the left side came before, row, version), in order."""
    late: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """(side, place among its rows), in order."""
    parts: int = 0


@dataclass(frozen=True, slots=True)
class _Version:
    row: Row
    number: int
    """How many silences were over when it came."""


def joined(left: Sequence_, right: Sequence_, out_of_orderness: int, *, shared: bool = False) -> Join:
    """`l LEFT JOIN r FOR SYSTEM_TIME AS OF l.ts`, by key. `shared`: both sides are one stream."""
    found = Join()
    versions, silences = _versions(right, out_of_orderness, found, shared=shared)
    kept = list[tuple[int, int, int, Row, int]]()
    latest, arrived, place = BEGINNING, 0, 0
    for one in left:
        if isinstance(one, str):
            found.parts += one == "end"
            continue
        arrived = max(arrived, one.arrived)
        if one.time < latest - out_of_orderness:
            found.late.append(("l", place))
        else:
            kept.append((found.parts, one.time, place, one, arrived))
        latest, place = max(latest, one.time), place + 1
    for part, _, _, row, came in sorted(kept, key=lambda item: item[:3]):
        seen = bisect_left(silences, came)
        known = [
            one.row for one in versions if one.number <= seen and one.row.key == row.key and one.row.time <= row.time
        ]
        newest = max((one.time for one in known), default=0)
        found.rows.append((part, row, next((one for one in reversed(known) if one.time == newest), None)))
    found.late.sort()
    return found


def _versions(
    right: Sequence_, out_of_orderness: int, found: Join, *, shared: bool
) -> tuple[list[_Version], list[int]]:
    """The versions in order of arrival, and the last arrival that each silence covers."""
    versions, silences = list[_Version](), list[int]()
    latest, arrived, place, silent = BEGINNING, 0, 0, ""
    for one in right:
        if isinstance(one, str):
            silent = "end" if "end" in (silent, one) else one
            continue
        arrived = max(arrived, one.arrived)
        if silent:
            silences.append(arrived - 1 if shared or silent == "end" else arrived)
        silent = ""
        if one.time >= latest - out_of_orderness:
            versions.append(_Version(one, len(silences)))
        elif not shared:
            found.late.append(("r", place))
        latest, place = max(latest, one.time), place + 1
    return versions, silences
