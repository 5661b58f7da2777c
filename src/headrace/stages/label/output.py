"""What a prompt becomes: an example, a dead letter in its place, or the sign that it was."""

from dataclasses import dataclass, field

import msgspec

from headrace.events import codec
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import dead_record
from headrace.events.example import Example
from headrace.events.origin import Origin, encode_origin
from headrace.events.prompt import Prompt
from headrace.foundation.errors import FinalError
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord, Record
from headrace.teachers.desk import DeskAnswer
from headrace.teachers.teacher import RefusedError, UnansweredError

PAYLOAD_AT_MOST = 64 << 10


@dataclass(slots=True)
class Batch:
    """The front of the queue, ready to be committed."""

    examples: list[NewRecord] = field(default_factory=list[NewRecord])
    """With the signs between them."""
    dead: list[NewRecord] = field(default_factory=list[NewRecord])
    next_offset: int = -1

    @property
    def examples_only(self) -> int:
        return sum(codec.is_data(record) for record in self.examples)


@dataclass(frozen=True, slots=True)
class LabelOutput:
    """Makes the records of one stage."""

    stage: str
    prompts: str
    """The topic that it reads."""
    teacher: str
    """The MegaModel's name."""

    def sign(self, record: Record) -> NewRecord:
        return NewRecord(derive_id(self.stage, record.id), record.kind, record.value, record.event_time)

    def example(self, record: Record, prompt: Prompt, answer: DeskAnswer | None) -> NewRecord:
        """`answer`: None where the row carries it."""
        example = Example(
            prompt.row_id, prompt.root_id, prompt.index, prompt.count, prompt.messages,
            answer.text if answer else prompt.ground_truth or "",
            f"{self.teacher}/{answer.model}" if answer else prompt.teacher,
            passages=prompt.passages,
        )  # fmt: skip
        if answer:
            example = msgspec.structs.replace(example, price=answer.price, cached=answer.cached)
        return NewRecord(
            record.id, codec.kind_of(example), codec.encode(example), record.event_time,
            key=f"{prompt.row_id}#{prompt.index}",
            origin=encode_origin(Origin(topic=self.prompts, offset=record.offset, id=record.id)),
            ingested_at=record.ingested_at,
        )  # fmt: skip

    def letter(self, record: Record, error: FinalError) -> NewRecord:
        """A refusal stays one; what was unusable, or failed by itself, may be sent again."""
        code = "unusable_answer"
        if isinstance(error, RefusedError):
            code = "refused"
        elif isinstance(error, UnansweredError):
            code = "unanswered"
        letter = DeadLetter(
            "label", code, str(error), record.id, record.value.decode(errors="backslashreplace")[:PAYLOAD_AT_MOST],
            source_topic=self.prompts, source_offset=record.offset, replayable=code != "refused",
            reader=self.stage,
        )  # fmt: skip
        return dead_record(derive_id(self.prompts, record.offset, "label"), letter, record.event_time)
