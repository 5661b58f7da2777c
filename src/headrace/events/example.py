"""`example/1`: a prompt with its answer, in learning order."""

import msgspec

from headrace.events.message import Message, Passage


class Price(msgspec.Struct, frozen=True):
    """The cost of an answer."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0


class Example(msgspec.Struct, frozen=True):
    """One thing to learn. Record id: the prompt's id; key: row id + '#' + index."""

    row_id: str
    root_id: str
    index: int
    count: int
    messages: list[Message]
    answer: str
    teacher: str
    """Who answered: `MEGAMODEL/model` or `column:NAME`."""
    price: Price = Price()
    cached: bool = False
    """Whether the answer came from the cache at no cost."""
    passages: list[Passage] = []
