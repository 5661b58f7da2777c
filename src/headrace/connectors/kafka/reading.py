"""Messages of one partition → typed rows, and dead letters for the rest."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from headrace.connectors.kafka.formats import Format
from headrace.connectors.kafka.lanes import Letter, Message, Piece
from headrace.connectors.kafka.options import Options
from headrace.connectors.kafka.wire import UnreadableMessageError
from headrace.connectors.records.dead_letters import UNREADABLE, dead_letter
from headrace.connectors.records.debezium import DebeziumLines, flat_sample
from headrace.connectors.records.inference import SAMPLE_RECORDS, UNKNOWN, infer_json
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.rows import Arrivals, RowMaker
from headrace.connectors.records.typed_block import Reject
from headrace.connectors.source import SourceOptions
from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.foundation.clock import Clock
from headrace.foundation.errors import HeadraceError, InvalidDeclarationError

_JSON_GROWTH = 8
"""A binary message may grow when converted to JSON; its own size has already been checked."""


class MessageReader:
    """The rows of one source. Not for several threads."""

    def __init__(self, source: SourceOptions, given: Options, form: Format, clock: Clock) -> None:
        self._given, self._format, self._clock = given, form, clock
        self._debezium = given.format == "debezium"
        self._source = replace(source, id_columns=()) if self._debezium else source
        self._added = tuple(name for name in (given.key_column, given.headers_column) if name is not None)
        self._parser: JsonLines | DebeziumLines | None = None
        self._maker: RowMaker | None = None
        self.schema: RowSchema | None = None
        """Declared, or from the first messages; None until then."""
        if source.schema is not None:
            self._settle(source.schema)

    def settle(self, messages: Sequence[Message]) -> None:
        """Determines a missing schema: from the messages' own schema, otherwise the narrowest that fits their values."""
        if self._maker is not None:
            return
        sample: list[bytes] = []
        for message in messages:
            if message.value is None or len(message.value) > self._given.max_record_bytes:
                continue
            found: RowSchema | None = None
            line = b""
            try:
                found = self._format.columns(message.value)
                line = self._line(message, message.value)
            except (HeadraceError, MemoryError):
                raise
            except Exception:  # noqa: BLE001, S110 - it gives no schema; `read` reports the error
                pass
            if found is not None:
                self._settle(self._with_added(found))
                return
            sample += flat_sample([line]) if self._debezium else [line] if line.lstrip().startswith(b"{") else []
            if len(sample) >= SAMPLE_RECORDS:
                break
        if (inferred := infer_json(sample)) is not None:
            self._settle(inferred)

    def read(self, messages: Sequence[Message], high: int) -> Piece:
        """The messages of one partition, in order. `high`: its largest event time so far. UnavailableError: nothing was taken."""
        rejects: dict[int, Reject] = {}
        lines: list[bytes] = []
        good: list[int] = []
        for index, message in enumerate(messages):
            found = self._readable(message)
            if isinstance(found, bytes):
                good.append(index)
                lines.append(found)
            elif found is not None:
                rejects[index] = replace(found, index=index)
        rows, faults = self._rows([messages[index] for index in good], lines)
        rejects |= {good[one.index]: replace(one, index=good[one.index]) for one in faults}
        keys = np.full(len(messages), high, np.int64)
        if rows is not None:
            places = np.array(good, np.int64)[int64_numpy(rows.offsets)]
            rows = replace(rows, offsets=int64_array(places))
            keys[places] = np.maximum(int64_numpy(rows.event_times), high)
        letters = [self._letter(messages[index], rejects[index]) for index in sorted(rejects)]
        ends = np.array([message.offset + 1 for message in messages], np.int64)
        return Piece(rows, letters, ends, np.maximum.accumulate(keys))

    def _rows(self, messages: Sequence[Message], lines: Sequence[bytes]) -> tuple[RowBatch | None, list[Reject]]:
        """The rows (`offsets`: numbers among the n messages), and why the others were rejected."""
        if not lines:
            return None, []
        data = b"\n".join(lines)
        if self._parser is None or self._maker is None:
            return None, self._unknown(data, len(lines))
        block = self._parser.parse(data, final=True)
        numbers = block.lines - 1  # an empty change event is not a record
        rejects = {int(numbers[one.index]): replace(one, index=int(numbers[one.index])) for one in block.rejects}
        kept = np.array([number for number in numbers.tolist() if number not in rejects], np.int64)
        rows, refused = self._maker.make(block.table, self._arrivals([messages[number] for number in kept.tolist()]))
        rejects |= {int(kept[one.index]): replace(one, index=int(kept[one.index])) for one in refused}
        if not rows.num_rows:
            return None, list(rejects.values())
        unstamped = int64_array(np.zeros(rows.num_rows, np.int64))
        offsets = int64_array(kept[int64_numpy(rows.offsets)])
        return replace(rows, offsets=offsets, ingested_at=unstamped), list(rejects.values())

    def _unknown(self, data: bytes, count: int) -> list[Reject]:
        """Before any message provides a schema, each one is rejected."""
        rows = JsonLines(UNKNOWN, self._given.max_record_bytes * _JSON_GROWTH)
        block = (DebeziumLines(rows, self._given.max_record_bytes) if self._debezium else rows).parse(data, final=True)
        said = {int(block.lines[one.index]) - 1: one for one in block.rejects}
        empty = Reject(0, "no_columns", "the message has no columns, and no schema is known yet")
        return [
            replace(said.get(number, empty), index=number) for number in (block.lines - 1).tolist() if number < count
        ]

    def _readable(self, message: Message) -> bytes | Reject | None:
        """The value as a line, or why it was rejected, or None: nothing to read."""
        raw = message.value
        if raw is None:
            if self._debezium:  # follows the change event of a delete
                return None
            return Reject(0, "no_value", "the message has no value (a tombstone), but a row is expected")
        if len(raw) > self._given.max_record_bytes:
            reason = f"the message has {len(raw)} bytes; the limit is {self._given.max_record_bytes} (maxRecordBytes)"
            return Reject(0, "too_long", reason)
        if self._source.event_time.column is None and (ahead := self._ahead(message)) is not None:
            return ahead
        try:
            return self._line(message, raw)
        except UnreadableMessageError as error:
            return Reject(0, "not_readable", f"the message cannot be read: {error}")
        except (HeadraceError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - one message must not stop the others
            return Reject(0, UNREADABLE, f"the message cannot be read: {type(error).__name__}: {error}")

    def _ahead(self, message: Message) -> Reject | None:
        """One producer with a wrong clock must not close every window."""
        allowed = self._source.event_time
        by = message.timestamp - self._clock.now_ms()
        if allowed.historical or by <= allowed.max_ahead_ms:
            return None
        reason = f"the message's timestamp is {by} ms ahead of the clock; the limit is {allowed.max_ahead_ms} ms"
        return Reject(0, "ahead_of_clock", f"{reason} (eventTime.maxAhead; timeline: event turns the check off)")

    def _line(self, message: Message, raw: bytes) -> bytes:
        line = self._format.line(raw)
        if self._debezium:
            return _beside_its_key(line, message.key)
        return self._with_extras(line, message) if self._added else line

    def _with_extras(self, line: bytes, message: Message) -> bytes:
        """Adds the columns for the message's key and headers to an object; leaves anything else unchanged."""
        line = line.strip()
        if not (line.startswith(b"{") and line.endswith(b"}")):
            return line
        extra: dict[str, object] = {}
        if self._given.key_column is not None and message.key is not None:
            extra[self._given.key_column] = message.key.decode(errors="backslashreplace")
        if self._given.headers_column is not None:
            extra[self._given.headers_column] = {
                name: None if value is None else value.decode(errors="backslashreplace") for name, value in message.headers
            }  # fmt: skip
        if not extra:
            return line
        body = line[:-1].rstrip()
        return body + (b"" if body == b"{" else b",") + msgspec.json.encode(extra)[1:]

    def _settle(self, schema: RowSchema) -> None:
        if missing := [name for name in self._added if name not in schema.names]:
            if self._source.schema is not None:
                raise InvalidDeclarationError(
                    f"there is no column {missing[0]!r}", where=f"StreamConnector/{self._source.id.name}: spec.kafka",
                    next_step=f"add it to spec.schema as STRING, or use one of: {', '.join(schema.names)}",
                )  # fmt: skip
            schema = self._with_added(schema)
        limit = self._given.max_record_bytes * _JSON_GROWTH
        rows = JsonLines(schema, limit)
        self.schema = schema
        self._parser = DebeziumLines(rows, limit) if self._debezium else rows
        self._maker = RowMaker(self._source, schema, self._clock)

    def _with_added(self, schema: RowSchema) -> RowSchema:
        own = tuple(column for column in schema.columns if column.name not in self._added)
        return RowSchema((*own, *(Column(name, "STRING") for name in self._added)))

    def _arrivals(self, messages: Sequence[Message]) -> Arrivals:
        times = None
        if self._source.event_time.column is None:
            now = self._clock.now_ms()
            stamps = [one.timestamp if one.timestamp >= 0 else now for one in messages]
            times = int64_array(np.array(stamps, np.int64))
        partition = messages[0].partition if messages else 0
        return Arrivals(
            source=f"{self._given.topic}/{partition}",
            positions=np.array([one.offset for one in messages], np.int64), ingested_at=times,
        )  # fmt: skip

    def _letter(self, message: Message, fault: Reject) -> Letter:
        place = f"{self._given.topic}/{message.partition}"
        reason = f"{place}@{message.offset}: {fault.reason}"
        record_id, letter = dead_letter(
            source=f"{self._source.id.name}:{place}", position=str(message.offset), code=fault.code, reason=reason,
            raw=message.value or b"",
        )  # fmt: skip
        return Letter(fault.index, record_id, letter)


def _beside_its_key(line: bytes, key: bytes | None) -> bytes:
    """Adds the message's key to a change event: a delete may take columns from it that its row lacks."""
    if key is None or not key.lstrip().startswith(b"{"):
        return line
    try:
        fields = msgspec.json.encode(msgspec.json.decode(key))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return line
    return b'{"key":' + fields + b',"value":' + line + b"}"
