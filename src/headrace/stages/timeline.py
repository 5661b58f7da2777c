"""Which clock a stream goes by."""

from typing import Literal

Timeline = Literal["arrival", "event"]
"""arrival: when a record entered the log; event: the stream's own time, for replays of history (SEMANTICS §3)."""
