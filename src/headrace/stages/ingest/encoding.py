"""A source's rows as records; a row that no record can hold becomes a dead letter, and the others continue."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pyarrow as pa

from headrace.connectors.records.dead_letters import UNREADABLE, dead_letter, shown_row
from headrace.events.dead_letter import DeadLetter
from headrace.events.origin import decode_origin
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records, text_of
from headrace.foundation.ids import joined
from headrace.log.record import NewRecord

Letters = list[tuple[str, DeadLetter]]


def keyed_by_document(batch: RowBatch, columns: Sequence[str]) -> RowBatch:
    """The rows with what identifies their document as their key. Where knowledge bases disagree on the column it is all of them, so
    that the newest record of a document is the newest of some key. A row without any of them is no document and has no key.
    """
    given = [batch.table.column(name).to_pylist() for name in columns if name in batch.schema.names]
    if not given:
        return batch
    texts = [[text_of(value) for value in values] for values in zip(*given, strict=True)]
    return replace(batch, keys=pa.array([joined(row) if any(row) else "" for row in texts], pa.string()))


def encoded(batch: RowBatch) -> tuple[list[NewRecord], Letters]:
    """The records, in order, and the letters of the rows that cannot be one, such as one of the year 10000."""
    try:
        return batch_to_records(batch), []
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one row, the others continue
        if batch.num_rows == 1:
            return [], [_letter(batch, str(error))]
    half = batch.num_rows // 2
    records, dead = encoded(batch.slice(0, half))
    more, more_dead = encoded(batch.slice(half))
    return records + more, dead + more_dead


def _letter(batch: RowBatch, reason: str) -> tuple[str, DeadLetter]:
    origin = decode_origin(batch.origins[0].as_py())
    place = (origin.topic, str(origin.offset)) if origin.topic else (origin.source, origin.position)
    record_id, letter = dead_letter(
        source=place[0], position=place[1], code=UNREADABLE, reason=f"{place[0]}@{place[1]}: {reason}",
        raw=shown_row(batch.table, 0),
    )  # fmt: skip
    return record_id, msgspec.structs.replace(letter, source_topic=origin.topic, source_offset=origin.offset)
