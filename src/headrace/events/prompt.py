"""`prompt/1`: one question made from one row, as the teacher and the student both see it."""

import msgspec

from headrace.events.message import Message, Passage


class Prompt(msgspec.Struct, frozen=True):
    """A row through one entry of `promptTemplate`. Record id: derive_id(finetuner, row id, index); key: row id."""

    row_id: str
    root_id: str
    """Id of the source event behind the row; in a chain of finetuners, the first one's."""
    index: int
    """Which entry of `promptTemplate`, from 0."""
    count: int
    """How many entries there are: index count − 1 completes the row."""
    messages: list[Message]
    passages: list[Passage] = []
    ground_truth: str | None = None
    """The answer, if a column of the row contains it; None: a teacher is asked."""
    teacher: str = ""
    """The source of `ground_truth`: `column:NAME`, or the first teacher's name in a chain of finetuners."""
