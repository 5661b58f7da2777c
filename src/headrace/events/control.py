"""`control/1`: the stream's own signs, placed between the rows, so that a replay sees them at the same positions."""

from typing import Literal

import msgspec


class DocumentRef(msgspec.Struct, frozen=True):
    """A document version that became visible."""

    document: str
    version: str
    deleted: bool = False


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sign.

    `idle`: this source's watermark no longer holds others back, until its next row. `end`: a bounded source is read.
    `documents`: the knowledge base named by `source` changed: prompts before this sign were retrieved from what was before.
    """

    sign: Literal["idle", "end", "documents"]
    source: str
    at_ms: int = 0
    """documents: the time up to which changes are counted, on the finetuner's timeline."""
    changes: list[DocumentRef] = []
    generation: str = ""
    """documents: the generation used for the prompts after it."""


def cites(document: str, version: str) -> str:
    """A passage's source as a single text."""
    return f"{document}@{version}"
