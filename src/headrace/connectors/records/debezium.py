"""Debezium change events → flat rows: the row's columns, plus the change as `operation`.

It accepts the envelope itself (`before`, `after`, `op`, `ts_ms`), the envelope inside its schema (`schema`, `payload`), and either of
them next to its key (`key`, `value`). The row is `after`, or for a delete `before` with the key's columns. `ts_ms` is added
if the row has no such column. If a schema is included, days, microseconds and unscaled decimals become dates,
times and decimals. https://debezium.io/documentation/reference/stable/connectors/postgresql.html
"""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import numpy as np

from headrace.connectors.records.dead_letters import UNREADABLE
from headrace.connectors.records.json_lines import JsonLines, without
from headrace.connectors.records.typed_block import Reject, TypedBlock

OPERATIONS = {"c": "create", "u": "update", "d": "delete", "r": "read"}
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NULL = b"null"
_DAYS = frozenset({"io.debezium.time.Date", "org.apache.kafka.connect.data.Date"})
_TIMES = {
    "io.debezium.time.Timestamp": 1_000, "org.apache.kafka.connect.data.Timestamp": 1_000,
    "io.debezium.time.MicroTimestamp": 1, "io.debezium.time.NanoTimestamp": -1_000,
}  # fmt: skip
"""Microseconds per unit; below 0: units per microsecond."""
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
Fields = Mapping[str, msgspec.Raw]
_NO_FIELDS: Fields = {}


class NotAnEnvelopeError(Exception):
    """Why a record is not a change event."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class _Column(msgspec.Struct, frozen=True):
    """A field of a Kafka Connect schema."""

    field: str = ""
    name: str | None = None
    parameters: dict[str, str] = {}
    fields: list["_Column"] = []


def flatten(record: bytes) -> bytes | None:
    """A row as a JSON object on one line. None: a tombstone without a key, which adds nothing to its delete.

    NotAnEnvelopeError: malformed_json, not_an_envelope, unknown_operation, unreadable.
    """
    try:
        record.decode()
        if record.strip() == _NULL:
            return None
        found = _OBJECT.decode(record)
        key = _NO_FIELDS
        if "op" not in found and "value" in found:
            key = _key(found.get("key"))
            if bytes(found["value"]) == _NULL:
                return msgspec.json.encode({**key, "operation": "delete"}) if key else None
            found = _OBJECT.decode(found["value"])
        if "payload" not in found:
            return _flat(found, key, None)
        if bytes(found["payload"]) == _NULL:
            return msgspec.json.encode({**key, "operation": "delete"}) if key else None
        return _flat(_OBJECT.decode(found["payload"]), key, found.get("schema"))
    except (UnicodeDecodeError, RecursionError) as error:
        raise NotAnEnvelopeError("malformed_json", str(error)) from error
    except NotAnEnvelopeError:
        raise
    except msgspec.ValidationError as error:
        raise NotAnEnvelopeError("not_an_envelope", f"the record is not a change event ({error})") from error
    except msgspec.DecodeError as error:
        raise NotAnEnvelopeError("malformed_json", str(error)) from error
    except Exception as error:  # one change event must not stop the others
        raise NotAnEnvelopeError(UNREADABLE, f"{type(error).__name__}: {error}") from error


def _flat(envelope: Fields, key: Fields, schema: msgspec.Raw | None) -> bytes:
    operation = _operation(envelope)
    side = "before" if operation == "delete" else "after"
    row: Fields = _object(envelope.get(side))
    if not row and not (operation == "delete" and key):
        raise NotAnEnvelopeError("not_an_envelope", f"`op` is {operation}, but `{side}` has no row")
    plain: dict[str, object] = {**key, **row}
    if schema is not None:
        plain |= _converted(row, _columns(schema, side))
    if "ts_ms" in envelope:
        plain.setdefault("ts_ms", envelope["ts_ms"])
    plain["operation"] = operation
    return msgspec.json.encode(plain).replace(b"\n", b" ").replace(b"\r", b" ")


def _operation(envelope: Fields) -> str:
    if "op" not in envelope:
        raise NotAnEnvelopeError("not_an_envelope", "the record is not a change event: it has no `op`")
    op = msgspec.json.decode(envelope["op"])
    operation = OPERATIONS.get(op) if isinstance(op, str) else None
    if operation is None:
        known = ", ".join(f"{letter} ({word})" for letter, word in OPERATIONS.items())
        raise NotAnEnvelopeError("unknown_operation", f"`op` is {op!r}; it should be one of: {known}")
    return operation


def _object(raw: msgspec.Raw | None) -> Fields:
    return _NO_FIELDS if raw is None or bytes(raw) == _NULL else _OBJECT.decode(raw)


def _key(raw: msgspec.Raw | None) -> Fields:
    """The key's columns; none for a plain value."""
    if raw is None or not bytes(raw).startswith(b"{"):
        return _NO_FIELDS
    fields = _OBJECT.decode(raw)
    return _object(fields["payload"]) if "payload" in fields and "schema" in fields else fields


def _columns(schema: msgspec.Raw, side: str) -> list[_Column]:
    sides = msgspec.json.decode(schema, type=_Column | None)
    return next((one.fields for one in sides.fields if one.field == side), []) if sides else []


def _converted(row: Fields, columns: Iterable[_Column]) -> dict[str, object]:
    """The columns whose JSON value does not match their type's encoding."""
    found: dict[str, object] = {}
    for column in columns:
        raw = row.get(column.field)
        if raw is None or bytes(raw) == _NULL or column.name is None:
            continue
        try:
            value = _typed(msgspec.json.decode(raw), column)
        except (ValueError, OverflowError, ArithmeticError) as error:
            reason = f"column {column.field}: {bytes(raw).decode()[:60]} is not of type {column.name}"
            raise NotAnEnvelopeError("wrong_type", reason) from error
        if value is not None:
            found[column.field] = value
    return found


def _typed(value: object, column: _Column) -> str | None:
    """None: written unchanged."""
    if isinstance(value, int) and column.name in _DAYS:
        return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
    if isinstance(value, int) and column.name in _TIMES:
        unit = _TIMES[column.name]
        moment = _EPOCH + timedelta(microseconds=value * unit if unit > 0 else value // -unit)
        return moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, str) and column.name == _DECIMAL:
        number = int.from_bytes(b64decode(value, validate=True), "big", signed=True)
        return format(Decimal(number).scaleb(-int(column.parameters.get("scale", "0"))), "f")
    return None


def is_tombstone(record: bytes) -> bool:
    """Whether it is empty; a record that is not a change event is not empty."""
    try:
        return flatten(record) is None
    except NotAnEnvelopeError:
        return False


def flat_sample(lines: Iterable[bytes]) -> list[bytes]:
    """The rows of the records that are change events, for inferring a schema."""
    rows: list[bytes] = []
    for line in lines:
        try:
            row = flatten(line)
        except NotAnEnvelopeError:
            continue
        if row is not None:
            rows.append(row)
    return rows


class DebeziumLines:
    """`JsonLines` for lines that are change events. Blank lines and tombstones without a key are not records."""

    def __init__(self, rows: JsonLines, max_record_bytes: int) -> None:
        self._rows = rows
        self._max_record_bytes = max_record_bytes

    def parse(self, data: bytes, *, final: bool) -> TypedBlock:
        """Like `JsonLines.parse`; rejects also have the codes of `flatten`."""
        if final and data and not data.endswith(b"\n"):
            data += b"\n"
        lines = data.split(b"\n")[:-1]
        ends = np.cumsum([len(line) + 1 for line in lines], dtype=np.int64)
        flat: list[bytes] = []
        kept: list[int] = []
        faults: dict[int, Reject] = {}
        for number, line in enumerate(lines):
            try:
                row = self._flatten(line)
            except NotAnEnvelopeError as error:
                faults[len(kept)] = Reject(len(kept), error.code, error.reason)
                row = b"{}"
            if row is not None:
                kept.append(number)
                flat.append(row)
        block = self._rows.parse(b"".join(row + b"\n" for row in flat), final=True)
        numbers = np.array(kept, np.int64)
        return replace(
            _without(block, faults), ends=ends[numbers], lines=numbers + 1, last_lines=numbers + 1,
            raw=lambda index: lines[kept[index]].rstrip(b"\r"), consumed=int(ends[-1]) if len(ends) else 0,
            consumed_lines=len(lines),
        )  # fmt: skip

    def _flatten(self, line: bytes) -> bytes | None:
        if not line.strip():
            return None
        if len(line) > self._max_record_bytes:
            raise NotAnEnvelopeError(
                "too_long", f"the record has {len(line)} bytes; the limit is {self._max_record_bytes}"
            )
        return flatten(line)


def _without(block: TypedBlock, faults: Mapping[int, Reject]) -> TypedBlock:
    """The block with further rejects: removes the empty placeholder rows."""
    if not faults:
        return block
    refused = {reject.index for reject in block.rejects}
    good = [index for index in range(block.count) if index not in refused]
    table = without(block.table, [place for place, index in enumerate(good) if index in faults])
    rejects = {**{reject.index: reject for reject in block.rejects}, **faults}
    return replace(block, table=table, rejects=tuple(rejects[index] for index in sorted(rejects)))
