"""A turn of a conversation, as in chat APIs."""

from typing import Literal

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One message and its role."""

    role: Literal["system", "user", "assistant"]
    content: str


class Passage(msgspec.Struct, frozen=True):
    """A document passage retrieved for a prompt, with its permanent identifiers."""

    document: str
    version: str
    chunk: int
    text: str
    score: float
