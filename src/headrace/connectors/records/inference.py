"""Infers the schema of a source that declares none: the narrowest types that fit its first records.

Whole numbers become BIGINT, fractions DOUBLE, true and false BOOLEAN, ISO timestamps TIMESTAMP_LTZ(3), lists
of these ARRAY<…>, everything else (mixed types, objects, columns without values) STRING.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from headrace.events.schema import Column, RowSchema

SAMPLE_RECORDS = 1000
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?")
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_BIGINT = range(-(2**63), 2**63)
_BIGINT_LETTERS = 20
_NO_VALUE = ""
UNKNOWN = RowSchema((Column("value", "STRING"),))
"""The schema if no record provides one: each record becomes a dead letter."""


def infer_json(lines: Iterable[bytes]) -> RowSchema | None:
    """From JSON lines; lines that are not objects are skipped. None: no objects among them."""
    kinds: dict[str, str] = {}
    for line in lines:
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            _widen(kinds, {str(name): _json_kind(value) for name, value in found.items()})
    return _schema(kinds)


def infer_text(names: Sequence[str], records: Iterable[Sequence[str | None]]) -> RowSchema | None:
    """From text records, such as CSV; those with a different number of fields are skipped."""
    kinds: dict[str, str] = dict.fromkeys(names, _NO_VALUE)
    for record in records:
        if len(record) == len(names):
            _widen(kinds, {name: _text_kind(text) for name, text in zip(names, record, strict=True)})
    return _schema(kinds)


def _widen(kinds: dict[str, str], found: Mapping[str, str]) -> None:
    for name, kind in found.items():
        kinds[name] = _common(kinds.get(name, _NO_VALUE), kind)


def _common(one: str, other: str) -> str:
    if other in (one, _NO_VALUE):
        return one
    if one == _NO_VALUE:
        return other
    if {one, other} == {"BIGINT", "DOUBLE"}:
        return "DOUBLE"
    if one.startswith("ARRAY<") and other.startswith("ARRAY<"):
        return f"ARRAY<{_common(one[6:-1], other[6:-1])}>"
    return "STRING"


def _schema(kinds: Mapping[str, str]) -> RowSchema | None:
    if not kinds:
        return None
    return RowSchema(tuple(Column(name, _settled(kind)) for name, kind in kinds.items()))


def _settled(kind: str) -> str:
    return {_NO_VALUE: "STRING", "ARRAY<>": "ARRAY<STRING>"}.get(kind, kind)


def _json_kind(value: object) -> str:
    match value:
        case None:
            return _NO_VALUE
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT" if value in _BIGINT else "DOUBLE"
        case float():
            return "DOUBLE"
        case str() if _TIMESTAMP.fullmatch(value):
            return "TIMESTAMP_LTZ(3)"
        case list():
            return _list_kind([_json_kind(item) for item in value])
        case _:
            return "STRING"


def _list_kind(items: Sequence[str]) -> str:
    common = _NO_VALUE
    for item in items:
        common = _common(common, item)
    return "STRING" if common.startswith("ARRAY<") else f"ARRAY<{common}>"


def _text_kind(text: str | None) -> str:
    if text is None or not text:
        return _NO_VALUE
    if text.lower() in {"true", "false"}:
        return "BOOLEAN"
    if _WHOLE.fullmatch(text):
        return "BIGINT" if len(text) <= _BIGINT_LETTERS and int(text) in _BIGINT else "DOUBLE"
    if _NUMBER.fullmatch(text):
        return "DOUBLE"
    return "TIMESTAMP_LTZ(3)" if _TIMESTAMP.fullmatch(text) else "STRING"
