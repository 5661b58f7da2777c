"""Writes records to an external topic, each exactly once.

    type: kafka
    kafka: {bootstrapServers: broker:9092, topic: bars, format: avro, schemaRegistry: {url: https://registry:8081}, key: symbol}

`prepare` writes the pending records in one Kafka transaction, with a note of them as the offset of the sink's own group. A process
killed between this transaction and the log's finds the note and does not write the same records again. It recognises them by the
first one's id and time of arrival, so that a new log of the same name is not mistaken for the old one. The transactional id is the
connector's: a replaced sink cannot write.

Kafka rejects a whole batch if one record is at fault or they are too large together. A rejected batch is rewritten
in halves, each in its own transaction, until a rejected record is isolated.
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
"""How many rejected records a transaction's note names; a note may have 4 KiB."""
_BEFORE_ANY = -1


class _Prepared(msgspec.Struct):
    """How far the sink has come according to the log."""

    written: dict[str, int] = {}
    """Per topic of the log, as in the sink's `input`: the offset of the last record written."""


class _Note(msgspec.Struct):
    """A note of what a transaction wrote, stored in it as the metadata of the group's offset."""

    first: int
    """Log offset of the first record since the log last recorded the sink's progress."""
    mark: str
    """Distinguishes that record from one at the same place in another log."""
    last: int
    """Log offset of its last record."""
    refused: list[int] = []
    """The records in between that Kafka rejected."""


def open_sink(options: SinkOptions) -> "KafkaSink":
    """Opens an external topic as a sink."""
    return KafkaSink(options)


class KafkaSink:
    """See the port. Prepared records are visible at once and never written twice."""

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
        """The last transaction's note, not yet compared with the records."""
        self._waiting: list[Outgoing] = []
        self._first: Record | None = None
        """Rejected records since the log last recorded the sink's progress."""
        self._refused: list[Refused] = []
        self._written: dict[str, int] = {}

    @property
    def names_batches(self) -> bool:
        return False

    def recover(self, prepared: bytes | None) -> None:
        """Takes the transactional id, which ends any other process's open transaction. An unreachable broker surfaces at the first write."""
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
        """Does nothing: the records are already visible, and the log knows it."""
        self._first = None

    def close(self) -> None:
        self._transactions.close()
        if self._registry is not None:
            self._registry.close()

    @property
    def _last(self) -> int:
        """Offset of the last record written from the declared topic."""
        return self._written.get(self._input, _BEFORE_ANY)

    def _connect(self) -> None:
        note = self._transactions.connect()
        self._found = msgspec.json.decode(note, type=_Note) if note else None

    def _pass_over_what_is_there(self) -> None:
        """Skips records of a transaction whose log commit is missing."""
        found, self._found = self._found, None
        known = [one.record for one in self._waiting] + ([self._first] if self._first else [])
        if found is None or all((one.offset, _mark(one)) != (found.first, found.mark) for one in known):
            return
        here = [one.record for one in self._waiting if one.record.offset <= found.last]
        self._refused += [Refused(one, "Kafka rejected it earlier") for one in here if one.offset in found.refused]
        self._done(found.last)

    def _write_in_parts(self, records: Sequence[Outgoing]) -> None:
        """Writes the records, in halves if Kafka rejects them together."""
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
        """Everything up to this log offset was written or rejected."""
        self._written[self._input] = max(self._last, last)
        self._waiting = [one for one in self._waiting if one.record.offset > last]

    def _note(self, last: int) -> str:
        """The note for a transaction that ends at this log offset."""
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
