"""`prompt/1`: one question made of one row, as the teacher and the student will both see it."""

import msgspec

from headrace.events.message import Message, Passage


class Prompt(msgspec.Struct, frozen=True):
    """A row through one entry of `promptTemplate`. Record id: derive_id(finetuner, row id, index); key: row id."""

    row_id: str
    root_id: str
    """Id of the source event that the row comes from; through chains of finetuners it stays the first one's."""
    index: int
    """Which entry of `promptTemplate`, from 0."""
    count: int
    """How many entries there are: the row is complete with index count − 1."""
    messages: list[Message]
    passages: list[Passage] = []
    ground_truth: str | None = None
    """The answer, where a column of the row gives it; None: a teacher is asked."""
    teacher: str = ""
    """Where `ground_truth` comes from: `column:NAME`, or the first teacher's name in a chain of finetuners."""
