"""How far event time has come (SEMANTICS §3): per event, so that it is the same however the rows are cut into batches."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

BEGINNING = -(1 << 62)
"""Before every event: the watermark of an input that has given no row."""

Times = npt.NDArray[np.int64]


class InputWatermark:
    """One input's: the running maximum of its event times, less `out_of_orderness_ms`."""

    def __init__(self, out_of_orderness_ms: int) -> None:
        self.out_of_orderness_ms = out_of_orderness_ms
        self.latest: int | None = None
        """The largest event time so far, ms since 1970 UTC."""
        self.holds = True
        """False while the input is idle or has ended: it holds the others back no longer."""
        self.arrived = 0
        """When the newest row so far came in, ms since 1970 UTC; never earlier than the row before it."""

    @property
    def value(self) -> int:
        return BEGINNING if self.latest is None else self.latest - self.out_of_orderness_ms

    def arrive(self, moments: Times) -> int:
        """Takes the moments at which the next rows came in; gives the first one's."""
        first = max(self.arrived, int(moments[0]))
        self.arrived = max(self.arrived, int(moments.max()))
        return first

    def advance(self, times: Times) -> tuple[Times, Times]:
        """Takes the next rows' event times; gives, for each row, the latest time up to and including it, and the watermark before it."""
        self.holds = True
        first = BEGINNING if self.latest is None else self.latest
        running = np.maximum.accumulate(np.concatenate((np.array([first], np.int64), times)))
        self.latest = int(running[-1])
        before = running[:-1] - self.out_of_orderness_ms
        return running[1:], np.where(running[:-1] == BEGINNING, BEGINNING, before)


def combined(inputs: Mapping[str, InputWatermark]) -> int:
    """The smallest of the inputs that hold it back; the largest of all where none does."""
    holding = [one.value for one in inputs.values() if one.holds]
    return min(holding) if holding else max(one.value for one in inputs.values())
