"""Records to a topic of other people, each once.

    type: kafka
    kafka: {bootstrapServers: broker:9092, topic: bars, format: avro, schemaRegistry: {url: https://registry:8081}, key: symbol}

`prepare` writes what waits in one Kafka transaction, together with what it was, as the offset of a group of the sink's own. A process
that is killed between this transaction and the log's finds it there, and does not write the same records again. It knows them by the
first one's id and time of arrival, so that a new log of the same name is not mistaken for the old one. The transactional id is the
connector's: a sink that was replaced cannot write.

Kafka refuses a whole batch where one of its records is at fault, or where they are too large together. What it refused is written
again in halves, each in a transaction of its own, until a record that is refused stands alone.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from headrace.connectors.kafka.options import SinkOptions as Options
from headrace.connectors.kafka.registry import registry_for
from headrace.connectors.kafka.transacting import Outgoing, Transactions
from headrace.connectors.kafka.writing import writing
from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.refusal import Refused, RefusedRecordsError
from headrace.connectors.sink import SinkOptions
from headrace.foundation.errors import FinalError, UnavailableError
from headrace.foundation.ids import derive_id
from headrace.log.record import Record

_MOST_NOTED = 200
"""Refused records that a transaction's note names; a note may have 4 KiB."""
_BEFORE_ANY = -1


class _Prepared(msgspec.Struct):
    """How far the sink has come, as the log knows it."""

    written: dict[str, int] = {}
    """By topic of the log, as `input` of the sink has named it: the offset of the last record that was written."""


class _Note(msgspec.Struct):
    """What a transaction wrote, kept in it as the metadata of the group's offset."""

    first: int
    """Offset in the log of the first record since the log last knew how far the sink had come."""
    mark: str
    """Tells that record from one at the same place of another log."""
    last: int
    """Offset in the log of its own last record."""
    refused: list[int] = []
    """Between them, those that Kafka did not take."""


def open_sink(options: SinkOptions) -> "KafkaSink":
    """Opens a foreign topic as a sink."""
    return KafkaSink(options)


class KafkaSink:
    """See the port. What was prepared is visible at once, and never written twice."""

    def __init__(self, options: SinkOptions) -> None:
        self._given = Options.model_validate(dict(options.options))
        self._input = options.input
        self._where = f"StreamConnector/{options.id.name}"
        registry = self._registry = registry_for(self._given.format, self._given.schema_registry, self._where)
        self._writing = writing(self._given.format, registry, self._given.topic, self._where)
        self._transactions = Transactions(
            self._given, f"headrace-sink-{options.id.namespace}-{options.id.name}", self._where
        )
        self._found: _Note | None = None
        """The last transaction's note, not compared with what is written yet."""
        self._waiting: list[Outgoing] = []
        self._first: Record | None = None
        """Of what was prepared since the log last knew how far the sink had come."""
        self._refused: list[Refused] = []
        self._written: dict[str, int] = {}

    @property
    def names_batches(self) -> bool:
        return False

    def recover(self, prepared: bytes | None) -> None:
        """Takes the transactional id over, which ends what another process has open. A broker that is away is asked at the first write."""
        self._waiting.clear()
        self._refused.clear()
        self._first = None
        self._written = {} if prepared is None else msgspec.json.decode(prepared, type=_Prepared).written
        with suppress(UnavailableError):
            self._connect()

    def write(self, records: Sequence[Record]) -> None:
        """FinalError: a record does not fit the format."""
        reached = self._waiting[-1].record.offset if self._waiting else self._last
        self._waiting += [self._outgoing(record) for record in records if record.offset > reached]

    def prepare(self, *, end: bool = False) -> bytes:  # noqa: ARG002 - there is nothing to close
        if self._waiting:
            self._first = self._first or self._waiting[0].record
            if not self._transactions.connected:
                self._connect()
            self._pass_over_what_is_there()
            self._write_in_parts(self._waiting)
        if self._refused:
            refused, self._refused = self._refused, []
            message = f"Kafka rejected {len(refused)} records: {refused[0].reason}"
            raise RefusedRecordsError(message, refused, where=self._where)
        return msgspec.json.encode(_Prepared(self._written))

    def publish(self) -> None:
        """It is visible already, and the log knows of it."""
        self._first = None

    def close(self) -> None:
        self._transactions.close()
        if self._registry is not None:
            self._registry.close()

    @property
    def _last(self) -> int:
        """Offset of the last record that was written of the topic that is declared."""
        return self._written.get(self._input, _BEFORE_ANY)

    def _connect(self) -> None:
        note = self._transactions.connect()
        self._found = msgspec.json.decode(note, type=_Note) if note else None

    def _pass_over_what_is_there(self) -> None:
        """Drops what a transaction wrote whose commit the log does not know."""
        found, self._found = self._found, None
        known = [one.record for one in self._waiting] + ([self._first] if self._first else [])
        if found is None or all((one.offset, _mark(one)) != (found.first, found.mark) for one in known):
            return
        here = [one.record for one in self._waiting if one.record.offset <= found.last]
        self._refused += [Refused(one, "Kafka rejected it earlier") for one in here if one.offset in found.refused]
        self._done(found.last)

    def _write_in_parts(self, records: Sequence[Outgoing]) -> None:
        """Writes them, in halves where Kafka does not take them together."""
        if not records:
            return
        reason = self._transactions.send(records, self._note(records[-1].record.offset))
        if reason is not None and len(records) > 1:
            middle = len(records) // 2
            self._write_in_parts(records[:middle])
            self._write_in_parts(records[middle:])
            return
        if reason is not None:
            self._refused.append(Refused(records[0].record, reason))
        self._done(records[-1].record.offset)

    def _done(self, last: int) -> None:
        """Everything up to this offset of the log was written or refused."""
        self._written[self._input] = max(self._last, last)
        self._waiting = [one for one in self._waiting if one.record.offset > last]

    def _note(self, last: int) -> str:
        """Of a transaction that ends with this offset of the log."""
        assert self._first is not None
        refused = [one.record.offset for one in self._refused if one.record.offset < last][:_MOST_NOTED]
        return msgspec.json.encode(_Note(self._first.offset, _mark(self._first), last, refused)).decode()

    def _outgoing(self, record: Record) -> Outgoing:
        try:
            value = self._writing.encode(outgoing_json(record, metadata=self._given.metadata))
            return Outgoing(record, self._key(record), value)
        except msgspec.MsgspecError as error:
            raise FinalError(f"the record {record.id} is not JSON: {error}", where=self._where) from error

    def _key(self, record: Record) -> bytes | None:
        if self._given.key is None:
            return record.key.encode() or None
        value = msgspec.json.decode(record.value, type=dict[str, object]).get(self._given.key)
        return None if value is None else value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _mark(record: Record) -> str:
    return derive_id(record.id, record.ingested_at)
