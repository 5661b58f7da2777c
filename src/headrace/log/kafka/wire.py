"""Converts records to Kafka messages and back, and Headrace's names to Kafka's."""

import re
from typing import Any

from headrace.log.record import NewRecord, Record

LATEST_TIMESTAMP = 253_402_300_799_999
"""End of the year 9999, ms: the largest Kafka timestamp that other readers handle safely."""
_HEADERS = ("id", "kind", "ingested_at", "origin")
"""In the order in which they are written. `arrived_at` follows if the record was ingested earlier than it came here, then `latest` and
`ended`, then `event_time` if the timestamp cannot carry it."""
_ARRIVED = "arrived_at"
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9.-]")


def to_message(topic: str, partition: int, now_ms: int, record: NewRecord) -> dict[str, Any]:
    """The arguments of `Producer.produce`. A record without an arrival time gets `now_ms`."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("id", record.id.encode()),
        ("kind", record.kind.encode()),
        ("ingested_at", b"%d" % (record.ingested_at or now_ms)),
        ("origin", record.origin.encode()),
    ]
    if record.ingested_at not in (0, now_ms):
        headers.append((_ARRIVED, b"%d" % now_ms))
    if record.stream is not None:
        headers.append(("latest", b"%d" % record.stream.latest))
        if record.stream.ended is not None:
            headers.append(("ended", b"%d" % record.stream.ended))
    timestamp = record.event_time
    if not 0 < timestamp <= LATEST_TIMESTAMP:
        headers.append(("event_time", b"%d" % timestamp))
        timestamp = min(max(timestamp, 1), LATEST_TIMESTAMP)  # 0 means "now" to the client
    return {
        "topic": topic, "partition": partition, "value": record.value, "key": record.key.encode() or None,
        "timestamp": timestamp, "headers": headers,
    }  # fmt: skip


def to_record(message: Any) -> Record:
    """The record in a message; for a foreign message without our headers, as much as can be known."""
    try:
        return _ours(message)
    except (KeyError, AttributeError, TypeError, ValueError):  # no header, an empty one, no UTF-8, no number
        return _foreign(message)


def _ours(message: Any) -> Record:
    pairs = message.headers()
    key = message.key()
    if len(pairs) == 4 or (len(pairs) == 5 and pairs[4][0] == _ARRIVED):  # the common case, without a lookup
        (first, record_id), (second, kind), (third, ingested_at), (fourth, origin) = pairs[:4]
        if (first, second, third, fourth) == _HEADERS:
            return Record(
                message.offset(), record_id.decode(), kind.decode(), message.value() or b"", message.timestamp()[1],
                key.decode() if key else "", origin.decode(), int(ingested_at),
            )  # fmt: skip
    headers: dict[str, Any] = dict(pairs)
    moment = headers.get("event_time")
    return Record(
        message.offset(), headers["id"].decode(), headers["kind"].decode(), message.value() or b"",
        message.timestamp()[1] if moment is None else int(moment),
        key.decode() if key else "", headers["origin"].decode(), int(headers["ingested_at"]),
    )  # fmt: skip


def arrival_of(message: Any) -> int:
    """When a message entered its topic, ms: stamped by its writer; for a foreign one, Kafka's timestamp."""
    headers: dict[str, Any] = dict(message.headers() or ())
    for name in (_ARRIVED, "ingested_at"):
        value = headers.get(name)
        if value and value.isdigit():
            return int(value)
    return message.timestamp()[1]


def _foreign(message: Any) -> Record:
    """A message from another writer, such as an outside engine: as much as can be known."""
    headers: dict[str, Any] = dict(message.headers() or ())
    timestamp = message.timestamp()[1]

    def text(name: str) -> str:
        value = headers.get(name)
        return value.decode("utf-8", "replace") if value else ""

    def number(name: str) -> int:
        found = text(name)
        return int(found) if re.fullmatch(r"-?[0-9]{1,18}", found) else timestamp

    key = message.key()
    return Record(
        message.offset(), text("id"), text("kind"), message.value() or b"", number("event_time"),
        key.decode("utf-8", "replace") if key else "", text("origin"), number("ingested_at"),
    )  # fmt: skip


def escaped(name: str) -> str:
    """Escapes a name for use in a topic name: characters other than letters, digits, `.` and `-` become `_` and their hex code."""
    return _NOT_PLAIN.sub(lambda found: f"_{ord(found.group()):x}_", name)
