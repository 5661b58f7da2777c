"""Outgoing records: a JSON value, optionally with the log's metadata."""

import msgspec

from headrace.log.record import Record


def outgoing_json(record: Record, *, metadata: bool) -> bytes:
    """The value as one line of JSON, without a newline; `metadata` adds `_id` and `_eventTime`."""
    value = record.value.replace(b"\n", b" ").replace(b"\r", b" ")
    if not metadata:
        return value
    added = msgspec.json.encode({"_id": record.id, "_eventTime": record.event_time})
    if value.lstrip().startswith(b"{"):
        rest = value.lstrip()[1:].lstrip()
        return added[:-1] + (b"" if rest.startswith(b"}") else b",") + rest
    return added[:-1] + b',"value":' + value + b"}"
