"""A record's origin, as compact JSON in `Record.origin`, so that lineage can be traced (SEMANTICS §1)."""

import msgspec


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A source record: source and position. A stateless row, prompt, example …: topic, offset and id. A windowed row: query, key, window."""

    source: str = ""
    """Connector name, with the file for files."""
    position: str = ""
    """Position in it: line or row number, offset …"""
    topic: str = ""
    offset: int = -1
    id: str = ""
    query: str = ""
    """Digest of the query that produced a windowed row."""
    key: str = ""
    window_start: int = 0
    """ms since 1970 UTC, inclusive"""
    window_end: int = 0
    """ms since 1970 UTC, exclusive"""
    topics: list[str] = []
    """Input topics of a windowed or joined row; lineage finds the rows by reading the window again."""


def encode_origin(origin: Origin) -> str:
    return msgspec.json.encode(origin).decode()


def decode_origin(text: str) -> Origin:
    return msgspec.json.decode(text or "{}", type=Origin)
