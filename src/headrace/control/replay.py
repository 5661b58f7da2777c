"""Sends dead letters again to the topic in which they failed; each letter once."""

from dataclasses import dataclass

import msgspec

from headrace.events import codec
from headrace.events.dead_letter import DeadLetter
from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, GroupOffset, TopicLog

GROUP = "replay"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What was done."""

    sent: int
    passed_over: int
    targets: tuple[str, ...]


def replay_dead_letters(log: TopicLog, topic: str, *, everything: bool = False) -> ReplayReport:
    """Sends the letters that were not sent before; the offset and the new records are one commit.

    A letter goes back as the record it was, with an id of its own, at the end of the topic in which it failed.
    """
    offset = log.offset(GROUP, topic)
    targets: dict[str, list[NewRecord]] = {}
    passed_over = 0
    for record in log.read(topic, offset, max_records=1_000_000, max_bytes=1 << 30):
        if record.kind != codec.KINDS[DeadLetter]:
            raise InvalidDeclarationError(
                f"{topic} is not a dead-letter topic", next_step="`headrace topics` lists them as ….dead…"
            )
        offset = record.offset + 1
        letter = codec.decode(record, DeadLetter)
        original = _original(log, letter)
        if original is None or not (letter.replayable or everything):
            passed_over += 1
            continue
        again = msgspec.structs.replace(original, id=derive_id("replay", record.id))
        targets.setdefault(letter.source_topic, []).append(again)
    log.commit(
        Commit([Append(name, records) for name, records in targets.items()], [GroupOffset(GROUP, topic, offset)])
    )
    return ReplayReport(sum(len(records) for records in targets.values()), passed_over, tuple(targets))


def _original(log: TopicLog, letter: DeadLetter) -> NewRecord | None:
    if not letter.source_topic or letter.source_offset < 0:
        return None
    found = log.read(letter.source_topic, letter.source_offset, max_records=1)
    if not found or found[0].offset != letter.source_offset:
        return None
    record = found[0]
    return NewRecord(
        record.id, record.kind, record.value, record.event_time, record.key, record.origin, record.ingested_at
    )
