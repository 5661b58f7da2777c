"""What a windowed row is called: the same on every engine, so that its id is, too."""

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from headrace.events.origin import Origin, encode_origin


def window_origin(digest: str, key: str, start: int, end: int, topics: Sequence[str]) -> str:
    """The origin of a row of the window [start, end) ms; `topics`: those that the query reads."""
    return encode_origin(Origin(query=digest, key=key, window_start=start, window_end=end, topics=list(topics)))


def key_texts(columns: list[list[Any]], rows: int) -> list[str]:
    """The key of each row: its columns' text joined by `/`; different keys give different texts."""
    if not columns:
        return [""] * rows
    if len(columns) == 1:
        return [_text(value, alone=True) for value in columns[0]]
    return ["/".join(_text(value, alone=False) for value in values) for values in zip(*columns, strict=True)]


def _text(value: object, *, alone: bool) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\")
        return escaped if alone else escaped.replace("/", "\\/")
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)
