"""A turn of a conversation, as every chat API has it."""

from typing import Literal

import msgspec


class Message(msgspec.Struct, frozen=True):
    """Who says what."""

    role: Literal["system", "user", "assistant"]
    content: str


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document that was retrieved for a prompt, with what identifies it permanently."""

    document: str
    version: str
    chunk: int
    text: str
    score: float
