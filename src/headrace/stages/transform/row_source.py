"""Reads a topic of rows as batches cut at the stream's own signs; another finetuner's examples are rows too."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from headrace.events import codec
from headrace.events.control import Control
from headrace.events.example import Example
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import records_to_batch
from headrace.events.schema import Column, RowSchema
from headrace.foundation.ids import escaped, split_at
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import NewRecord, Record
from headrace.models.knowledge_text import fill_knowledge

ROOT_MARK = "~"
"""Between the root event's id, escaped, and the finetuner that a chained row comes through."""

EXAMPLE_COLUMNS = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"),
        Column("system_context", "STRING"),
        Column("question", "STRING"),
        Column("answer", "STRING"),
        Column("teacher", "STRING"),
        Column("prompt_index", "INT"),
    )
)
"""What `source_stream` gives when it is another finetuner's examples."""


def root_of(row_id: str, *, chained: bool) -> str:
    """The id of the source event that a row goes back to, through any chain of finetuners. `chained`: its query reads examples."""
    return split_at(row_id, ROOT_MARK)[0] if chained else row_id


def chained_row_id(example: Example, finetuner: str) -> str:
    return f"{escaped(example.root_id, ROOT_MARK)}{ROOT_MARK}{finetuner}/{example.row_id}#{example.index}"


def control_record(record_id: str, control: Control, event_time: int) -> NewRecord:
    """A sign as a record. Its key is the sign's name, so that an outside engine tells it from a row without reading it; the event time
    of an `end` is the largest one before it (0: not known), which tells such an engine what there is to close.
    """
    return NewRecord(record_id, codec.CONTROL, codec.encode(control), event_time, key=control.sign)


def cut_at_controls(records: Sequence[Record]) -> Iterator[Sequence[Record] | Control]:
    """Runs of data records, with the controls between them, in order. What is to be passed is left out."""
    start = 0
    for place, record in enumerate(records):
        if not codec.is_data(record):
            if place > start:
                yield records[start:place]
            if record.kind == codec.CONTROL:
                yield codec.decode(record, Control)
            start = place + 1
    if start < len(records):
        yield records[start:]


def to_batch(records: Sequence[Record], schema: RowSchema, finetuner: ResourceId | None = None) -> RowBatch:
    """Typed rows; with `finetuner`, of that finetuner's examples."""
    return _examples_to_batch(records, finetuner) if finetuner else records_to_batch(records, schema)


def _examples_to_batch(records: Sequence[Record], finetuner: ResourceId) -> RowBatch:
    examples = [codec.decode(record, Example) for record in records]
    table = pa.table(
        {
            "event_time": pa.array([record.event_time for record in records], pa.int64()).cast(
                pa.timestamp("ms", tz="UTC")
            ),
            "system_context": [_content(example, "system") for example in examples],
            "question": [_content(example, "user") for example in examples],
            "answer": [example.answer for example in examples],
            "teacher": [example.teacher for example in examples],
            "prompt_index": pa.array([example.index for example in examples], pa.int32()),
        },
        schema=EXAMPLE_COLUMNS.to_arrow(),
    )
    return RowBatch(
        table,
        EXAMPLE_COLUMNS,
        pa.array([chained_row_id(example, finetuner.name) for example in examples], pa.string()),
        pa.array([record.key for record in records], pa.string()),
        pa.array([record.event_time for record in records], pa.int64()),
        pa.array([record.ingested_at for record in records], pa.int64()),
        pa.array([record.origin for record in records], pa.string()),
        pa.array([record.offset for record in records], pa.int64()),
    )


def _content(example: Example, role: str) -> str:
    filled = fill_knowledge(example.messages, example.passages)
    return "\n".join(message.content for message in filled if message.role == role)
