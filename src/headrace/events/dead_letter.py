"""`dead/1`: what could not go on, why, and whether trying again can help."""

from typing import Literal

import msgspec

Stage = Literal["ingest", "transform", "prompt", "label", "train", "index", "sink"]


class DeadLetter(msgspec.Struct, frozen=True):
    """Record id: derive_id(topic or file, position, stage); key: origin id."""

    stage: Stage
    code: str
    """Machine-readable reason, such as `malformed_json`, `wrong_type`, `missing_key`, `ahead_of_clock`, `too_long`, `refused`."""
    reason: str
    """The same for people, with the place."""
    origin_id: str
    """Id of the record it was, or `source@position`."""
    payload: str
    """The text as it came, cut after 64 KiB; bytes that are not UTF-8 are escaped with backslashes."""
    source_topic: str = ""
    source_offset: int = -1
    attempt: int = 1
    replayable: bool = False
    """Sending it again may help: the reason lay outside of it."""
    reader: str = ""
    """The stage that failed, such as `sink/default.out`: what is sent again is for it alone. Empty: for every reader of the source topic."""
