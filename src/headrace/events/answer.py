"""`answer/1` and `feedback/1`: served answers, and feedback on them."""

import msgspec

from headrace.events.message import Message, Passage


class Answer(msgspec.Struct, frozen=True):
    """Record id: the answer's own id, as in the header `x-headrace-answer-id`."""

    model: str
    version: str
    messages: list[Message]
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    passages: list[Passage] = []
    knowledge: str = ""
    """The knowledge base generation that the passages came from."""


class Feedback(msgspec.Struct, frozen=True):
    """A rating or a correction of an answer. Key: the answer's id."""

    answer_id: str
    rating: float | None = None
    correction: str | None = None
    comment: str = ""
