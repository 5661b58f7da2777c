"""Static tables as topics, for an engine that is no part of this process: canonical rows, then the end."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.events.schema import Column, RowSchema, type_name
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, Lease, TopicLog, TopicSpec
from headrace.stages.transform.options import TransformOptions
from headrace.stages.transform.row_source import control_record
from headrace.streams.stream_engine import StaticTable

_ROWS = 20_000


def write_tables(
    log: TopicLog, options: TransformOptions, tables: Sequence[StaticTable], lease: Lease
) -> dict[str, str]:
    """Writes each table once; gives its topic by the table's name. Another content is another topic."""
    written: dict[str, str] = {}
    for table in tables:
        records = table_records(table)
        digest = hashlib.blake2b(digest_size=8)
        for record in records:
            digest.update(record.value)
        topic = topics.table(options.id, table.name, digest.hexdigest())
        log.ensure_topic(TopicSpec(topic))
        done = log.topic(topic).end_offset
        if not done or log.find(topic, "end") is None:
            held = set[str]()
            if done:  # a killed writer's part
                offset = 0
                while part := log.read(topic, offset):
                    held.update(record.id for record in part)
                    offset = part[-1].offset + 1
            missing = [record for record in records if record.id not in held]
            for start in range(0, len(missing), _ROWS):
                log.commit(Commit([Append(topic, missing[start : start + _ROWS])], lease=lease))
        written[table.name] = topic
    return written


def table_records(table: StaticTable) -> list[NewRecord]:
    """A table as canonical rows, event time: since when the row is true (0: always), then an `end`."""
    rows = table.table.combine_chunks()
    times = (
        [_moment(value) for value in rows[table.valid_from].to_pylist()] if table.valid_from else [0] * rows.num_rows
    )
    schema = RowSchema(tuple(Column(field.name, type_name(field.type)) for field in rows.schema))
    ids = [derive_id(table.name, place) for place in range(rows.num_rows)]
    text = pa.array([""] * rows.num_rows, pa.string())
    batch = RowBatch(
        rows.cast(schema.to_arrow()), schema, pa.array(ids, pa.string()), text, pa.array(times, pa.int64()),
        pa.array([1] * rows.num_rows, pa.int64()), text, pa.array(range(rows.num_rows), pa.int64()),
    )  # fmt: skip
    records = batch_to_records(batch, codec.ROW) if rows.num_rows else []
    return [*records, control_record("end", Control("end", table.name), max(times, default=0))]


def _moment(value: datetime | None) -> int:
    return 0 if value is None else round(value.timestamp() * 1000)
