"""What a job wrote, as rows: ids, keys, origins and types as any engine gives them (`sql/job_sql.py` says how they lie there)."""

from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa

from headrace.events.origin import Origin, encode_origin
from headrace.events.row_batch import RowBatch
from headrace.foundation.errors import CorruptDataError
from headrace.foundation.ids import derive_id
from headrace.log.record import Record
from headrace.streams.flink.sql.deferred import compute, deferred_columns
from headrace.streams.flink.sql.job_sql import identity_types, optimised
from headrace.streams.logical_plan import Relation, Scan
from headrace.streams.row_names import key_texts, window_origin
from headrace.streams.stream_job import JobLateRow, JobOutput, JobSign, JobSpec
from headrace.streams.validate import plan_query


def read_raw(job: JobSpec, records: Sequence[Record]) -> JobOutput:
    """The rows, late rows and signs of a job's output, in order. CorruptDataError names the offset of what the job did not write."""
    rows: list[dict[str, Any]] = []
    late: list[JobLateRow] = []
    signs: list[JobSign] = []
    for record in records:
        try:
            one = msgspec.json.decode(record.value)
            what = one["x"]
            if what == "row":
                rows.append(one)
            elif what == "late":
                late.append(JobLateRow(one["n"], one["o"], one["b"]))
            else:
                signs.append(JobSign(one["n"], one["s"], one["o"]))
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise CorruptDataError(
                f"offset {record.offset} holds nothing that the job {job.name} wrote: {error}"
            ) from error
    furthest = max((one["o"] for one in rows if "o" in one), default=-1)
    return JobOutput(_batch(job, rows) if rows else None, late, signs, furthest)


def _batch(job: JobSpec, rows: list[dict[str, Any]]) -> RowBatch:
    schema = job.plan.output.to_arrow()
    logical = plan_query(job.query)
    later = deferred_columns(logical, optimised(logical))
    for place, (_, call) in later.items():
        for one in rows:
            one[f"c{place}"] = compute(call, one.get(f"c{place}") or ())
    columns = [_column(rows, f"c{place}", kind) for place, kind in enumerate(schema.types)]
    numbers = pa.array(range(len(rows)), pa.int64())
    names = _window_names if "we" in rows[0] else _source_names
    ids, keys, times, origins = names(job, rows)
    return RowBatch(
        pa.table(columns, schema=schema), job.plan.output,
        pa.array(ids, pa.string()), pa.array(keys, pa.string()), pa.array(times, pa.int64()),
        pa.array([one.get("g", 0) for one in rows], pa.int64()), pa.array(origins, pa.string()), numbers,
    )  # fmt: skip


Names = tuple[Sequence[str], Sequence[str], Sequence[int], Sequence[str]]
"""ids, keys, event times, origins"""


def _source_names(job: JobSpec, rows: list[dict[str, Any]]) -> Names:
    """Those of the rows that they were made from."""
    topic = _left_topic(optimised(plan_query(job.query)))
    origins = [encode_origin(Origin(topic=topic, offset=one["o"], id=one["id"])) for one in rows]
    return [one["id"] for one in rows], [one.get("key", "") for one in rows], [one["t"] for one in rows], origins


def _left_topic(relation: Relation) -> str:
    while not isinstance(relation, Scan):
        relation = relation.source
    return relation.stream.topic


def _window_names(job: JobSpec, rows: list[dict[str, Any]]) -> Names:
    digest = job.plan.digest
    by_name = {one.name: one.topic for one in job.query.inputs}
    topics = tuple(by_name[name] for name in job.plan.inputs)
    kinds = identity_types(optimised(plan_query(job.query)))
    columns = [[_identity(one.get(f"i{place}"), kind) for one in rows] for place, kind in enumerate(kinds)]
    keys = key_texts(columns, len(rows))
    windows = [(key, one["ws"], one["we"]) for key, one in zip(keys, rows, strict=True)]
    ids = [derive_id(digest, *window, one["r"]) for window, one in zip(windows, rows, strict=True)]
    origins = [window_origin(digest, *window, topics) for window in windows]
    return ids, keys, [end - 1 for _, _, end in windows], origins


def _identity(text: str | None, kind: pa.DataType) -> object:
    """A key's value as Python has it, from Flink's text."""
    if text is None or pa.types.is_string(kind):
        return text
    if pa.types.is_boolean(kind):
        return text == "TRUE"
    if pa.types.is_integer(kind):
        return int(text)
    if pa.types.is_floating(kind):
        return float(text)
    if pa.types.is_decimal(kind):
        return Decimal(text)
    if pa.types.is_date(kind):
        return date.fromisoformat(text)
    return datetime.fromisoformat(text) if pa.types.is_timestamp(kind) else text


def _column(rows: list[dict[str, Any]], name: str, kind: pa.DataType) -> pa.Array:
    read = _reader(kind)
    return pa.array([None if (value := one.get(name)) is None else read(value) for one in rows], _carried(kind)).cast(
        kind, safe=False
    )


def _carried(kind: pa.DataType) -> pa.DataType:
    """The Arrow type in which values are handed over."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz)
    if pa.types.is_list(kind):
        return pa.list_(_carried(kind.value_type))
    return kind


def _reader(kind: pa.DataType) -> Callable[[Any], Any]:
    """From Flink's JSON to a value that Arrow takes."""
    if pa.types.is_floating(kind):
        return float
    if pa.types.is_decimal(kind):
        return lambda value: Decimal(str(value))
    if pa.types.is_timestamp(kind):
        return _moment
    if pa.types.is_date(kind):
        return date.fromisoformat
    if pa.types.is_binary(kind):
        return b64decode
    if pa.types.is_list(kind):
        inner = _reader(kind.value_type)
        return lambda values: [None if one is None else inner(one) for one in values]
    return lambda value: value


def _moment(text: str) -> datetime:
    """`2024-01-01T00:00:00.12Z`: any number of digits behind the second."""
    head, _, rest = text.partition(".")
    fraction = rest.rstrip("Z")
    zone = "+00:00" if text.endswith("Z") else ""
    return datetime.fromisoformat(f"{head.rstrip('Z')}.{fraction[:6]:0<6}{zone}")
