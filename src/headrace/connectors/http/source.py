"""The source of pushed events: reads the connector's inbox topic."""

from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from headrace.connectors.http.inbox import RAW, inbox_topic
from headrace.connectors.http.options import Options
from headrace.connectors.records.dead_letters import dead_letter
from headrace.connectors.records.debezium import DebeziumLines, flat_sample, is_tombstone
from headrace.connectors.records.inference import SAMPLE_RECORDS, UNKNOWN, infer_json
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.rows import Arrivals, RowMaker
from headrace.connectors.records.typed_block import Reject
from headrace.connectors.source import SourceBatch, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.schema import RowSchema
from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.record import Record

_JSON_GROWTH = 2
"""A record may grow by its metadata on the way; the endpoint has already measured it."""


class _Position(msgspec.Struct):
    """The next offset of the inbox."""

    offset: int = 0


def open_source(options: SourceOptions, context: SourceContext) -> "HttpSource":
    """Opens a connector's inbox as a source; the context must include the log."""
    return HttpSource(options, context)


class HttpSource:
    """See the port. Never bounded; the position is an offset of the inbox topic."""

    def __init__(self, options: SourceOptions, context: SourceContext) -> None:
        if context.log is None:
            raise InvalidDeclarationError("an http source requires a log", where=f"StreamConnector/{options.id.name}")
        given = Options.model_validate(dict(options.options))
        # A change event is identified by its position: all changes of a row share the row's id.
        self._source = options if given.envelope == "none" else replace(options, id_columns=())
        self._limit = given.max_record_bytes * _JSON_GROWTH
        self._debezium = given.envelope == "debezium"
        self._log = context.log
        self._clock = context.clock
        self._topic = inbox_topic(options)
        self._schema = options.schema
        self._maker: RowMaker | None = None
        self._parser: JsonLines | DebeziumLines | None = None
        self._offset = 0

    @property
    def bounded(self) -> bool:
        return False

    @property
    def schema(self) -> RowSchema | None:
        return self._schema

    def open(self, position: bytes | None) -> None:
        self._offset = 0 if position is None else msgspec.json.decode(position, type=_Position).offset
        self._log.ensure_topic(self._topic)
        if self._schema is not None:
            self._settle(self._schema)

    def poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        records = self._log.read(self._topic.name, self._offset, max_records=max_rows)
        if not records and timeout_seconds > 0:
            self._log.wait(timeout_seconds)
            records = self._log.read(self._topic.name, self._offset, max_records=max_rows)
        if not records:
            return SourceBatch(None, (), self._position(), waiting=True)
        self._offset = records[-1].offset + 1
        raw = [record for record in records if record.kind == RAW and not self._says_nothing(record)]
        batch = self._batch(raw, *self._ready(raw)) if raw else SourceBatch(None, (), self._position())
        return replace(batch, read_up_to=(self._topic.name, self._offset))

    def lag(self) -> int | None:
        """Pushed events not yet read."""
        return max(0, self._log.topic(self._topic.name).end_offset - self._offset)

    def close(self) -> None:
        """Does nothing: the log belongs to the caller."""

    def _ready(self, records: list[Record]) -> tuple[JsonLines | DebeziumLines, RowMaker]:
        if self._parser is None or self._maker is None:
            sample = [record.value for record in records[:SAMPLE_RECORDS]]
            sample = flat_sample(sample) if self._debezium else sample
            return self._settle(infer_json(sample) or UNKNOWN)
        return self._parser, self._maker

    def _settle(self, schema: RowSchema) -> tuple[JsonLines | DebeziumLines, RowMaker]:
        self._schema = schema
        rows = JsonLines(schema, self._limit)
        self._parser = DebeziumLines(rows, self._limit) if self._debezium else rows
        self._maker = RowMaker(self._source, schema, self._clock)
        return self._parser, self._maker

    def _batch(self, records: list[Record], parser: JsonLines | DebeziumLines, maker: RowMaker) -> SourceBatch:
        block = parser.parse(b"\n".join(record.value for record in records), final=True)
        assert block.count == len(records), "an event of the inbox is one line of JSON"
        bad = {reject.index for reject in block.rejects}
        good = [index for index in range(len(records)) if index not in bad]
        rows, refused = maker.make(block.table, self._arrivals([records[index] for index in good]))
        faults = [*block.rejects, *(Reject(good[fault.index], fault.code, fault.reason) for fault in refused)]
        dead = [self._letter(fault, records[fault.index]) for fault in sorted(faults, key=lambda fault: fault.index)]
        offsets = np.array([records[index].offset for index in good], np.int64)[int64_numpy(rows.offsets)]
        rows = replace(rows, offsets=int64_array(offsets))
        return SourceBatch(rows if rows.num_rows else None, dead, self._position())

    def _says_nothing(self, record: Record) -> bool:
        return self._debezium and is_tombstone(record.value)

    def _arrivals(self, records: list[Record]) -> Arrivals:
        return Arrivals(
            source=self._topic.name, positions=np.array([record.offset for record in records], np.int64),
            ids=pa.array([record.id for record in records], pa.string()), topic=self._topic.name,
            ingested_at=int64_array(np.array([record.ingested_at for record in records], np.int64)),
        )  # fmt: skip

    def _letter(self, fault: Reject, record: Record) -> tuple[str, DeadLetter]:
        reason = f"{self._topic.name}@{record.offset}: {fault.reason}"
        record_id, letter = dead_letter(
            source=self._topic.name, position=str(record.offset), code=fault.code, reason=reason, raw=record.value
        )
        placed = msgspec.structs.replace(
            letter, origin_id=record.id, source_topic=self._topic.name, source_offset=record.offset
        )
        return record_id, placed

    def _position(self) -> bytes:
        return msgspec.json.encode(_Position(self._offset))
