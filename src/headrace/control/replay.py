"""Resends dead letters to the topic they failed in, each once, and only for the stage that failed.

Which letters were sent is an entry of the log's state, compared when it is written, in the commit that sends them: of two
replays at once one sends a letter, and the other reads again. There is no consumer group, so retention waits for nobody.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from headrace.events import codec
from headrace.events.addressing import addressed, opened
from headrace.events.dead_letter import DeadLetter
from headrace.foundation.errors import ConflictError, InvalidDeclarationError
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, StateKey, TopicLog

OWNER = "replay"
"""Owns one entry per topic of dead letters."""
_FORMER_GROUP = "replay"
"""Consumer group of older versions; it held retention back."""
_AT_ONCE = 500
"""Letters of one commit."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Outcome for the letters of a topic that no earlier replay had sent."""

    sent: int = 0
    not_asked: int = 0
    """Their stage says that a replay cannot help; `--all` sends them."""
    lost: int = 0
    """Their record is not in the log: it never was, or retention dropped it."""
    targets: tuple[str, ...] = ()
    """Names of the topics they were sent to."""

    def __add__(self, other: "ReplayReport") -> "ReplayReport":
        return ReplayReport(
            self.sent + other.sent, self.not_asked + other.not_asked, self.lost + other.lost,
            tuple(sorted({*self.targets, *other.targets})),
        )  # fmt: skip


class _Sent(msgspec.Struct, frozen=True):
    """Which letters of a topic were sent."""

    ranges: list[tuple[int, int]] = []
    """Offsets from the first of a pair to before the second; ascending, apart."""
    before: int = 0
    """An older version sent those below this offset of which the stage said that a replay may help."""

    def holds(self, record: Record, letter: DeadLetter) -> bool:
        if letter.replayable and record.offset < self.before:
            return True
        return any(first <= record.offset < last for first, last in self.ranges)

    def with_offsets(self, offsets: Sequence[int], start: int) -> "_Sent":
        """With these added; ranges below `start` are forgotten, because retention dropped the letters."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, *((offset, offset + 1) for offset in offsets)]):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            elif last > start:
                merged.append((first, last))
        return msgspec.structs.replace(self, ranges=merged)


@dataclass(slots=True)
class _Batch:
    """Letters that one commit sends."""

    report: ReplayReport = ReplayReport()
    offsets: list[int] = field(default_factory=list[int])
    appends: dict[str, list[NewRecord]] = field(default_factory=dict[str, list[NewRecord]])


def replay_dead_letters(log: TopicLog, topic: str, *, everything: bool = False) -> ReplayReport:
    """Sends the letters that no earlier replay sent; with `everything`, also those that a replay cannot help.

    A letter goes back as the record it was, under an id derived from the letter's place, at the end of the topic in which it
    failed. Letters that are not sent stay; a later replay finds them.
    """
    _adopt_former_group(log)
    report, offset = ReplayReport(), log.topic(topic).start_offset
    while records := log.read(topic, offset, max_records=_AT_ONCE):
        report += _send(log, topic, records, everything=everything)
        offset = records[-1].offset + 1
    return report


def _send(log: TopicLog, topic: str, records: Sequence[Record], *, everything: bool) -> ReplayReport:
    """Of these records, in one commit."""
    letters = list(_letters(topic, records))
    key = StateKey(OWNER, topic)
    while True:
        sent, version = _sent(log, topic)
        batch = _batch(log, topic, [one for one in letters if not sent.holds(*one)], everything=everything)
        if not batch.offsets:
            return batch.report
        state = sent.with_offsets(batch.offsets, log.topic(topic).start_offset)
        appends = [Append(name, again) for name, again in batch.appends.items()]
        try:
            log.commit(Commit(appends, state={key: msgspec.msgpack.encode(state)}, expect={key: version}))
        except ConflictError:
            continue
        return batch.report


def _sent(log: TopicLog, topic: str) -> tuple[_Sent, int]:
    """What was sent of a topic, and the version of that entry."""
    entry = log.state(OWNER, topic).get(topic)
    if entry is None:
        return _Sent(), 0
    sent = msgspec.msgpack.decode(entry.value, type=_Sent)
    known = max([last for _, last in sent.ranges], default=sent.before)
    is_another = known > log.topic(topic).end_offset  # it was deleted and made again
    return (_Sent() if is_another else sent), entry.version


def _letters(topic: str, records: Sequence[Record]) -> Iterator[tuple[Record, DeadLetter]]:
    for record in records:
        if record.kind == codec.REDACTED:
            continue
        if record.kind != codec.KINDS[DeadLetter]:
            raise InvalidDeclarationError(
                f"{topic} is not a dead-letter topic",
                next_step="run `headrace topics`; dead-letter topics are named ….dead…",
            )
        yield record, codec.decode(record, DeadLetter)


def _batch(log: TopicLog, topic: str, letters: Sequence[tuple[Record, DeadLetter]], *, everything: bool) -> _Batch:
    batch = _Batch()
    for record, letter in letters:
        original = _original(log, letter)
        if original is None:
            batch.report += ReplayReport(lost=1)
        elif not (letter.replayable or everything):
            batch.report += ReplayReport(not_asked=1)
        else:
            again = msgspec.structs.replace(original, id=derive_id("replay", topic, record.offset, record.id))
            again = addressed(again, letter.reader) if letter.reader else again
            batch.appends.setdefault(letter.source_topic, []).append(again)
            batch.offsets.append(record.offset)
            batch.report += ReplayReport(sent=1, targets=(letter.source_topic,))
    return batch


def _original(log: TopicLog, letter: DeadLetter) -> NewRecord | None:
    """None: it has no place in the log, or is no longer there."""
    if not letter.source_topic or letter.source_offset < 0:
        return None
    found = log.read(letter.source_topic, letter.source_offset, max_records=1)
    if not found or found[0].offset != letter.source_offset:
        return None
    [record] = opened(found, letter.reader)
    if codec.is_passed(record):
        return None
    return NewRecord(
        record.id, record.kind, record.value, record.event_time, record.key, record.origin, record.ingested_at
    )


def _adopt_former_group(log: TopicLog) -> None:
    """Takes over what older versions sent, and ends the group by which they remembered it."""
    state: dict[StateKey, bytes | None] = {}
    for info in log.topics():
        topic = info.spec.name
        former = next((one.next_offset for one in log.groups(topic) if one.group == _FORMER_GROUP), 0)
        if former:
            state[StateKey(OWNER, topic)] = msgspec.msgpack.encode(_Sent(before=former))
    if not state:
        return
    with suppress(ConflictError):  # another replay has taken it over
        log.commit(Commit(state=state, expect=dict.fromkeys(state, 0)))
    log.forget_group(_FORMER_GROUP)
