"""`dead/1`: a record that could not be processed, why, and whether retrying can help."""

from typing import Literal

import msgspec

Stage = Literal["ingest", "transform", "prompt", "label", "train", "index", "sink"]


class DeadLetter(msgspec.Struct, frozen=True):
    """Record id: derive_id(topic or file, position, stage); key: origin id."""

    stage: Stage
    code: str
    """Machine-readable reason, such as `malformed_json`, `wrong_type`, `missing_key`, `ahead_of_clock`, `too_long`, `refused`."""
    reason: str
    """The reason for people, with the position."""
    origin_id: str
    """The id of the original record, or `source@position`."""
    payload: str
    """The original text, truncated to 64 KiB; bytes that are not UTF-8 are escaped with backslashes."""
    source_topic: str = ""
    source_offset: int = -1
    attempt: int = 1
    replayable: bool = False
    """Whether retrying may help: the cause was external."""
    reader: str = ""
    """The stage that failed, such as `sink/default.out`: a replay is for it only. Empty: for every reader of the source topic."""
