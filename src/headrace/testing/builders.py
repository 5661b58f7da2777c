"""Small valid things, so that a test names only what it is about."""

from collections.abc import Iterable, Sequence

from headrace.events.codec import ROW
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec

EVENT_TIME = 1_700_000_000_000
"""The event time of built records, ms since 1970 UTC."""


def new_record(
    record_id: str = "r0",
    value: bytes = b"{}",
    *,
    kind: str = ROW,
    event_time: int = EVENT_TIME,
    key: str = "",
    origin: str = "",
    ingested_at: int = 0,
) -> NewRecord:
    return NewRecord(record_id, kind, value, event_time, key, origin, ingested_at)


def new_records(ids: Iterable[str | int], value: bytes = b"{}") -> list[NewRecord]:
    """One record per id, `r` before numbers, a millisecond apart."""
    names = [f"r{name}" if isinstance(name, int) else name for name in ids]
    return [new_record(name, value, event_time=EVENT_TIME + index) for index, name in enumerate(names)]


def stored(record: NewRecord, offset: int, ingested_at: int = 0) -> Record:
    """The record as a topic gives it back; `ingested_at` where it has none."""
    return Record(
        offset, record.id, record.kind, record.value, record.event_time, record.key, record.origin,
        record.ingested_at or ingested_at,
    )  # fmt: skip


def append(log: TopicLog, topic: str, records: Sequence[NewRecord], *, partition: int = 0) -> int:
    """Commits the records to a topic, which is created where it is missing; returns the offset of the first."""
    if topic not in {info.spec.name for info in log.topics()}:
        log.ensure_topic(TopicSpec(topic, partitions=partition + 1))
    return log.commit(Commit(appends=[Append(topic, records, partition)])).first_offsets[topic]


def read_all(log: TopicLog, topic: str, *, partition: int = 0) -> list[Record]:
    """Everything the topic holds, in order."""
    found: list[Record] = []
    while batch := log.read(topic, found[-1].offset + 1 if found else 0, partition=partition):
        found += batch
    return found
