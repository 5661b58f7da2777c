"""When one side of a join was silent, so that the rows of the other side need not wait for it.

A silence begins with a sign (idle, or the end of input) and lasts until the next row of that side arrives. A row of the other side
that arrived during it, or before, does not wait, and sees only versions from before the end of that silence: whichever was handed in
first. Arrivals are ms since 1970 UTC and never go back within an input.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.streams.duckdb.numbers import Bits, Numbers
from headrace.streams.watermark import BEGINNING

_NOT_SILENT, _IDLE, _ENDED = 0, 1, 2


class Silences:
    """Of the right side of a join."""

    def __init__(self, *, shared: bool) -> None:
        """`shared`: an input feeds both sides, so that one of its rows ends the silence and is joined itself."""
        self._shared = shared
        self._over: list[int] = []
        """The last arrival that each past silence covers, in order; those that no row can ask for any more are only counted."""
        self._counted = 0
        self._now = _NOT_SILENT
        self._reached = BEGINNING
        """Up to this arrival the present silence is known to last."""

    @property
    def number(self) -> int:
        """How many silences are over: what the versions that come now are marked with."""
        return self._counted + len(self._over)

    def begin(self, *, ended: bool) -> None:
        self._now = _ENDED if ended else max(self._now, _IDLE)

    def end(self, arrived: int) -> None:
        """A row arrived. One that arrives in the same millisecond as a row of the other side is seen by it after an end, and not after an idle sign."""
        if self._now != _NOT_SILENT:
            last = arrived - 1 if self._shared or self._now == _ENDED else arrived
            self._over.append(max([last, *self._over[-1:]]))
        self._now, self._reached = _NOT_SILENT, BEGINNING

    def lasts(self, arrived: int) -> None:
        """No row that arrived at `arrived` or before is still to come."""
        self._reached = max(self._reached, arrived)

    def cover(self, arrivals: Numbers) -> Bits:
        """Which rows need not wait."""
        last = self._over[-1] if self._over else BEGINNING
        return arrivals <= max(last, self._reached if self._now != _NOT_SILENT else BEGINNING)

    def seen_by(self, arrivals: Numbers) -> Numbers:
        """The largest `number` of the versions that each row sees."""
        return self._counted + np.searchsorted(np.array(self._over, np.int64), arrivals).astype(np.int64)

    def forget(self, before: int) -> int:
        """Drops silences that only rows from before this arrival could ask for; gives the `number` that every row to come sees at least."""
        gone = bisect_left(self._over, before)
        self._counted += gone
        del self._over[:gone]
        return self._counted

    def progress(self) -> Sequence[Any]:
        return [self._over, self._counted, self._now, self._reached]

    def restore(self, progress: Sequence[Any]) -> None:
        over, self._counted, self._now, self._reached = progress
        self._over = list(over)
