"""`control/1`: the stream's own signs, between the rows, so that a replay sees them at the same place."""

from typing import Literal

import msgspec


class Control(msgspec.Struct, frozen=True):
    """`idle`: this source's watermark no longer holds others back, until its next row. `end`: a bounded source is read."""

    sign: Literal["idle", "end"]
    source: str
    at_ms: int = 0
