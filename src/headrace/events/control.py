"""`control/1`: the stream's own signs, between the rows, so that a replay sees them at the same place."""

from typing import Literal

import msgspec


class DocumentRef(msgspec.Struct, frozen=True):
    """A document's version that became visible."""

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
    """documents: the moment up to which changes are counted, on the finetuner's timeline."""
    changes: list[DocumentRef] = []
    generation: str = ""
    """documents: the generation that the prompts behind it are retrieved from."""


def cites(document: str, version: str) -> str:
    """How a passage's source is written where one text must hold it."""
    return f"{document}@{version}"
