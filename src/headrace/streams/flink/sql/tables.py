"""The tables of a job: one per topic that it reads, and the one that it writes."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from headrace.log.topic_log import ExternalTable
from headrace.streams.flink.sql.types import day_time, epoch_ms, name, read_type, text
from headrace.streams.logical_plan import Frame
from headrace.streams.stream_job import JobOptions

LOWEST, HIGHEST = -62_135_596_800_000, 253_402_300_799_000
"""The years 1 and 9999: before and behind every event."""
_KAFKA = "org.apache.kafka."
ROW, SIGN = "row/1", "control/1"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns in parentheses, and its options; those under `properties.` may hold secrets."""

    name: str
    columns: tuple[str, ...]
    options: Mapping[str, str]

    def statement(self) -> str:
        options = ",\n  ".join(f"{text(key)} = {text(value)}" for key, value in self.options.items())
        return f"CREATE TEMPORARY TABLE {self.name} (\n  {f',{chr(10)}  '.join(self.columns)}\n) WITH (\n  {options}\n)"

    def shape(self) -> str:
        """What of it belongs to the job's graph."""
        kept = [f"{key}={self.options[key]}" for key in ("topic",) if key in self.options]
        return "\n".join((self.name, *self.columns, *kept))


@dataclass(frozen=True, slots=True)
class RowTime:
    """The time by which a table's rows go: ms as SQL of rows, of `end` signs and of other signs, all over `{t}`, the record's time.

    The watermark stays `behind_ms` behind it.
    """

    rows: str
    end: str
    other: str
    behind_ms: int


@dataclass(frozen=True, slots=True)
class Source:
    """A table over a canonical topic. Its own columns begin with `mark`, which no column of the rows does."""

    table: Table
    mark: str


def source_table(
    label: str,
    topic: ExternalTable,
    columns: Mapping[str, pa.DataType],
    time: RowTime | None,
    offset: int | None = None,
) -> Source:
    """`columns`: those of the rows' JSON that are read, by name; `offset`: where reading begins. Beside them: `key`, `headers`,
    `offset`, `kind`, `t`, `rt`, and the stream's time at the record (`latest`, `ended`).
    """
    mark = "_"
    while any(one.startswith(mark) for one in columns):
        mark += "_"
    header = lambda word: f"CAST({mark}headers[{text(word)}] AS STRING)"  # noqa: E731
    stamp = epoch_ms(f"CAST({mark}stamp AS TIMESTAMP(3))")
    lines = [f"{name(column)} {read_type(kind)}" for column, kind in columns.items()]
    lines += [
        f"{mark}key STRING",
        f"{mark}headers MAP<STRING NOT NULL, BYTES> METADATA FROM 'headers' VIRTUAL",
        f"{mark}stamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL",
        f"{mark}offset BIGINT METADATA FROM 'offset' VIRTUAL",
        f"{mark}kind AS {header('kind')}",
        f"{mark}id AS {header('id')}",
        f"{mark}ingested AS COALESCE(TRY_CAST({header('ingested_at')} AS BIGINT), CAST(0 AS BIGINT))",
        f"{mark}latest AS TRY_CAST({header('latest')} AS BIGINT)",
        f"{mark}ended AS TRY_CAST({header('ended')} AS BIGINT)",
        f"{mark}t AS COALESCE(TRY_CAST({header('event_time')} AS BIGINT), {stamp})",
    ]
    if time is not None:
        moment = f"COALESCE(TRY_CAST({header('event_time')} AS BIGINT), {stamp})"
        rows, end, other = (one.format(t=moment, offset=f"{mark}offset") for one in (time.rows, time.end, time.other))
        chosen = f"CASE WHEN {header('kind')} = '{ROW}' THEN {rows} WHEN {mark}key = 'end' THEN {end} ELSE {other} END"
        behind = f" - {day_time(time.behind_ms)}" if time.behind_ms else ""
        lines += [
            f"{mark}rt AS TO_TIMESTAMP_LTZ(COALESCE({chosen}, {LOWEST}), 3)",
            f"WATERMARK FOR {mark}rt AS {mark}rt{behind}",
        ]
    start = (
        {"scan.startup.mode": "earliest-offset"}
        if offset is None
        else {"scan.startup.mode": "specific-offsets", "scan.startup.specific-offsets": f"partition:0,offset:{offset}"}
    )
    settings = {
        "connector": "kafka", "topic": topic.topic, **_properties(topic),
        "properties.isolation.level": "read_committed", **start, "scan.parallelism": "1",
        "scan.watermark.emit.strategy": "on-event",
        "key.format": "raw", "key.fields": f"{mark}key", "value.format": "json", "value.fields-include": "EXCEPT_KEY",
        "value.json.ignore-parse-errors": "true", "value.json.timestamp-format.standard": "ISO-8601",
    }  # fmt: skip
    return Source(Table(label, tuple(lines), settings), mark)


def last_end(moment: str, frame: Frame) -> str:
    """End of the last window of a moment, in ms: from then on its row is late."""
    if frame.kind == "SESSION":
        return f"({moment} + {frame.size_ms})"
    step = frame.step_ms if frame.kind == "HOP" else frame.size_ms
    shifted = f"({moment} - {frame.offset_ms})" if frame.offset_ms else moment
    rest = f"MOD(MOD({shifted}, CAST({step} AS BIGINT)) + {step}, CAST({step} AS BIGINT))"
    return f"({moment} - {rest} + {frame.size_ms})"


def sink_table(label: str, topic: ExternalTable, columns: Mapping[str, str], job: str, options: JobOptions) -> Table:
    """The table of the job's output. `columns`: types by name."""
    settings = {
        "connector": "kafka", "topic": topic.topic, **_properties(topic),
        "properties.transaction.timeout.ms": str(options.transaction_timeout_ms),
        "sink.delivery-guarantee": "exactly-once", "sink.transactional-id-prefix": f"headrace-{job}",
        "sink.parallelism": "1", "value.format": "json", "value.json.timestamp-format.standard": "ISO-8601",
        "value.json.encode.decimal-as-plain-number": "true", "value.json.encode.ignore-null-fields": "true",
    }  # fmt: skip
    return Table(label, tuple(f"{one} {kind}" for one, kind in columns.items()), settings)


def _properties(topic: ExternalTable) -> dict[str, str]:
    """The client's properties. `flink-sql-connector-kafka` holds Kafka's classes under a name of its own, the login modules among them."""
    shaded = (
        (key, value.replace(_KAFKA, f"org.apache.flink.kafka.shaded.{_KAFKA}"))
        for key, value in topic.properties.items()
    )
    return {f"properties.{key}": value for key, value in shaded}
