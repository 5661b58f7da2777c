"""Rows of a topic → document changes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import msgspec

from headrace.foundation.errors import FinalError
from headrace.knowledge.revision import FOREVER, DocumentChange, Scalar

MAX_ID_BYTES = 1_024
"""Longer ids do not fit into a PostgreSQL index."""

_UPSERTS = frozenset({"upsert", "insert", "update", "create", "read", "snapshot", "c", "u", "r", "i"})
_DELETES = frozenset({"delete", "remove", "tombstone", "d"})
_MEDIA = {
    "markdown": "markdown", "md": "markdown", "text/markdown": "markdown",
    "plain": "plain", "txt": "plain", "text": "plain", "text/plain": "plain",
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,5})?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f]")
_DIGITS = re.compile(r"(\d+)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DIGITS = 4_000
_EXPONENTS = 500_000
_COMPLEMENT = str.maketrans("0123456789", "9876543210")
_MAX_INTEGER = 1 << 63
_AFTER = "\x01"
"""Appended to the order of a deletion: a source may only know the version that the deletion ends."""


@dataclass(frozen=True, slots=True)
class DocumentColumns:
    """Which column holds which part of a document."""

    id: str = "path"
    text: str = "body"
    title: str = "title"
    metadata: tuple[str, ...] = ()
    version: str | None = None
    """None: the topic's offset orders the versions."""
    valid_from: str | None = None
    operation: str = "operation"
    media: str = "media"


class UnusableDocumentError(FinalError):
    """A row that is neither a document nor a change to one."""

    def __init__(self, code: str, message: str, *, where: str | None = None) -> None:
        super().__init__(message, where=where)
        self.code = code


def to_change(
    record_values: Mapping[str, object], columns: DocumentColumns, *, seen_ms: int, stream_ms: int, offset: int
) -> DocumentChange:
    """The change described by a row; a pure function, so that a replay gives the same result.

    `seen_ms`, `stream_ms`: when the row entered the log, and the stream's time then; `offset`: its position in the topic.
    A deletion sorts right after the version it names and takes effect on arrival, whatever time its row contains.
    UnusableDocumentError: no id, no text, or an unreadable operation, version, time or media.
    """
    document = _document(record_values.get(columns.id), columns.id)
    deleted = _is_deletion(record_values.get(columns.operation), columns.operation)
    version, order = _version(record_values, columns.version, offset)
    if deleted:
        order += _AFTER
    return DocumentChange(
        document=document,
        version=version,
        order=order,
        deleted=deleted,
        text="" if deleted else _text(record_values.get(columns.text), columns.text),
        seen_ms=seen_ms,
        stream_ms=stream_ms,
        title="" if deleted else _words(record_values.get(columns.title)),
        metadata={} if deleted else _metadata(record_values, columns.metadata),
        valid_from_ms=None if deleted else _valid_from(record_values, columns.valid_from),
        media=_media(record_values.get(columns.media), columns.media),
    )


def version_order(version: object) -> str:
    """A text that sorts bytewise in version order.

    Numbers (integers, decimals) and times (ISO 8601, as ms since 1970) share one scale and come before all other texts;
    those sort by character, with runs of digits by value. UnusableDocumentError if it is none of these.
    """
    if isinstance(version, bool) or not isinstance(version, (int, float, str)):
        raise UnusableDocumentError("unreadable_version", f"{version!r} is not a number, a time or a text")
    number = _number(version)
    if number is not None:
        return "n" + _sortable(number)
    text = _CONTROL.sub("", str(version))
    if len(text) > _MAX_DIGITS:
        raise UnusableDocumentError("unreadable_version", f"the version has {len(text)} characters")
    return "t" + "".join(_run(part) for part in _DIGITS.split(text))


def _run(part: str) -> str:
    """Digits prefixed with their count, so that 9 comes before 10; equal values differ by their zeros."""
    if not part.isdigit() or not part.isascii():
        return part
    plain = part.lstrip("0") or "0"
    return f"{len(plain):04d}{plain}{len(part) - len(plain):04d}"


def _sortable(number: Decimal) -> str:
    """Sign, exponent, digits; all three inverted for negative numbers."""
    _, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return "1"
    size = len(text) + cast("int", exponent)
    if abs(size) >= _EXPONENTS or len(text) > _MAX_DIGITS:
        raise UnusableDocumentError(
            "unreadable_version", f"the version is a number with {len(text)} digits and magnitude {size}"
        )
    key = f"{size + _EXPONENTS:06d}{text.rstrip('0')}"
    return "2" + key if number > 0 else "0" + key.translate(_COMPLEMENT) + "~"


def _number(version: float | str) -> Decimal | None:
    if isinstance(version, str):
        text = version.strip()
        if len(text) <= _MAX_DIGITS and _NUMBER.fullmatch(text):
            return Decimal(text)
        moment = _moment(text)
        return None if moment is None else Decimal(moment // timedelta(microseconds=1)).scaleb(-3)
    number = Decimal(repr(version)) if isinstance(version, float) else Decimal(version)
    if not number.is_finite():
        raise UnusableDocumentError("unreadable_version", f"{version!r} is not a finite number")
    return number


def _moment(text: str) -> timedelta | None:
    """Milliseconds since 1970; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return None


def _version(values: Mapping[str, object], column: str | None, offset: int) -> tuple[str, str]:
    """The version as displayed, and its order."""
    if column is None:
        return f"r{offset}", version_order(offset)
    given = values.get(column)
    if given is None or given == "":
        raise UnusableDocumentError("unreadable_version", "the document has no version", where=column)
    try:
        return _words(given).strip(), version_order(given)
    except UnusableDocumentError as error:
        raise UnusableDocumentError(error.code, error.message, where=column) from error


def _document(given: object, column: str) -> str:
    if given is None or isinstance(given, bool) or not isinstance(given, (str, int)) or given == "":
        raise UnusableDocumentError("missing_id", "the document has no id", where=column)
    document = str(given)
    if len(document.encode()) > MAX_ID_BYTES:
        raise UnusableDocumentError("unusable_id", f"the id is longer than {MAX_ID_BYTES} bytes", where=column)
    if "\0" in document:
        raise UnusableDocumentError("unusable_id", "the id contains a NUL character", where=column)
    return document


def _is_deletion(given: object, column: str) -> bool:
    if given is None:
        return False
    word = given.strip().lower() if isinstance(given, str) else ""
    if word not in _UPSERTS and word not in _DELETES:
        known = ", ".join(sorted(_UPSERTS | _DELETES))
        raise UnusableDocumentError("unknown_operation", f"{given!r} is not one of: {known}", where=column)
    return word in _DELETES


def _media(given: object, column: str) -> str:
    if given is None:
        return "markdown"
    media = _MEDIA.get(given.strip().lower()) if isinstance(given, str) else None
    if media is None:
        raise UnusableDocumentError("unknown_media", f"{given!r} is not markdown or plain", where=column)
    return media


def _text(given: object, column: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise UnusableDocumentError("missing_text", "the document has no text", where=column)
    return _storable(given)


def _storable(text: str) -> str:
    """PostgreSQL text cannot contain NUL."""
    return text.replace("\0", "\ufffd")


def _words(given: object) -> str:
    if given is None:
        return ""
    return _storable(given if isinstance(given, str) else msgspec.json.encode(given).decode())


def _metadata(values: Mapping[str, object], names: tuple[str, ...]) -> dict[str, Scalar]:
    """Text, numbers and booleans unchanged; other JSON as text; NULLs omitted."""
    return {name: _scalar(values[name]) for name in names if values.get(name) is not None}


def _scalar(given: object) -> Scalar:
    if isinstance(given, (bool, float)):
        return given
    if isinstance(given, int) and -_MAX_INTEGER <= given < _MAX_INTEGER:
        return given
    return _words(given)


def _valid_from(values: Mapping[str, object], column: str | None) -> int | None:
    """Milliseconds since 1970: as a number or as ISO 8601."""
    given = values.get(column) if column else None
    if given is None or given == "":
        return None
    ms = _milliseconds(given)
    if ms is None or abs(ms) >= FOREVER:
        raise UnusableDocumentError(
            "unreadable_valid_from",
            f"{given!r} is not a time such as 2026-03-01T12:00:00Z or a number of milliseconds",
            where=column,
        )
    return ms


def _milliseconds(given: object) -> int | None:
    if isinstance(given, bool):
        return None
    if isinstance(given, int):
        return given
    if not isinstance(given, str):
        return None
    text = given.strip()
    moment = _moment(text)
    if moment is not None:
        return moment // timedelta(milliseconds=1)
    return int(text) if len(text) <= 19 and re.fullmatch(r"[+-]?\d+", text, re.ASCII) else None
