"""The Kafka implementation of the port."""

import threading
from collections.abc import Collection, Mapping, Sequence

from confluent_kafka import TopicPartition

from headrace.foundation.clock import Clock
from headrace.foundation.errors import ConflictError, FinalError, InvalidDeclarationError, RetryableError
from headrace.log.kafka.broker import KEPT, Broker, Partition
from headrace.log.kafka.catalog import Catalog, copied_key, cut_key, encode_spec, one_more_deletion, spec_key
from headrace.log.kafka.changelog import Changelog
from headrace.log.kafka.committing import Committer
from headrace.log.kafka.cursors import Cursors
from headrace.log.kafka.identities import Identities
from headrace.log.kafka.kept import Kept
from headrace.log.kafka.notices import Notices
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.reading import Reader
from headrace.log.kafka.retention import Trimmer
from headrace.log.record import Record
from headrace.log.redaction import RedactionReport
from headrace.log.topic_log import (
    NOTHING_DELETED,
    Commit,
    CommitResult,
    DeletedTopic,
    ExternalTable,
    GroupOffset,
    Lease,
    LogCapabilities,
    StateEntry,
    TopicInfo,
    TopicSpec,
    TrimReport,
)

_CAPABILITIES = LogCapabilities(shared_between_machines=True, partitions=True, dense_offsets=False, pause_seconds=0.02)


class KafkaTopicLog:
    """One administrative connection, one producer per role, one consumer per place being read."""

    def __init__(self, options: KafkaOptions, clock: Clock) -> None:
        self._options = options
        self._broker = Broker(options)
        self._broker.connect()
        self._notices = Notices(options, self._broker, clock)
        self._cursors, self._kept = Cursors(options, self._broker), Kept(options, self._broker)
        self._changelog = Changelog(options, self._broker)
        self._catalog = Catalog(options, self._changelog)
        self._reader = Reader(self._broker, self._catalog, self._cursors, self._kept)
        self._identities = Identities(self._broker, self._reader)
        self._committer = Committer(options, self._broker, self._changelog, self._catalog, self._identities, clock)
        self._trimmer = Trimmer(options, self._broker, self._catalog, self._committer)
        self._last: dict[Partition, tuple[int, int]] = {}
        """partition → (its end, one past its last record)"""
        self._lock = threading.Lock()
        self._closed = False
        self._catalog.on_deletion += [
            self._broker.forget, self._cursors.forget, self._kept.forget, self._identities.forget, self._committer.forget,
            self._trimmer.forget, self._last.clear,
        ]  # fmt: skip
        self._catalog.refresh()
        self._trimmer.finish_truncations()

    @property
    def capabilities(self) -> LogCapabilities:
        return _CAPABILITIES

    # --- topics ---

    def ensure_topic(self, spec: TopicSpec) -> None:
        self._open()
        self._catalog.refresh()
        if self._catalog.specs().get(spec.name) == spec:
            return
        name = f"{self._options.prefix}{spec.name}"
        there = self._broker.partitions(name)
        if there is None:
            self._broker.create(name, spec.partitions, KEPT)
        elif there > spec.partitions:
            raise InvalidDeclarationError(
                f"the topic {name} has {there} partitions, but {spec.partitions} are declared, and Kafka cannot remove partitions",
                next_step=f"declare {there} partitions or use another name",
            )
        elif there < spec.partitions:
            self._broker.grow(name, spec.partitions)
        self._keep(spec)

    def ensure_exists(self, name: str) -> None:
        self._open()
        if not self._catalog.stands(name):
            self.ensure_topic(TopicSpec(name))

    def delete_topic(self, name: str) -> DeletedTopic:
        self._open()
        if not self._catalog.stands(name):
            return NOTHING_DELETED
        # Written before the topic is created: a process killed in between leaves a specification without a topic, and the next call resumes here.
        for one in (self._catalog.companion(name)[0], f"{self._options.prefix}{name}"):
            self._broker.delete(one)
        while self._catalog.stands(name):
            state, expect = one_more_deletion(self._catalog.refresh())
            gone = dict.fromkeys((spec_key(name), cut_key(name), copied_key(name)))
            try:
                self.commit(Commit(state={**state, **gone}, expect=expect))
            except ConflictError:
                continue
        return DeletedTopic(None, None)

    def _keep(self, spec: TopicSpec) -> None:
        """Writes a topic's specification, one writer at a time: overlapping transactions would hide each other's writes for a while."""
        key, kept = spec_key(spec.name), encode_spec(spec)
        while True:
            entry = self._catalog.refresh().get(spec.name)
            if entry is not None and entry.value == kept:
                return
            try:
                self.commit(Commit(state={key: kept}, expect={key: entry.version if entry else 0}))
            except ConflictError:
                continue

    def topics(self) -> list[TopicInfo]:
        self._open()
        self._catalog.refresh()
        return self._infos([spec for _, spec in sorted(self._catalog.specs().items())])

    def topic(self, name: str) -> TopicInfo:
        self._open()
        self._catalog.refresh()
        return self._infos([self._catalog.spec(name)])[0]

    def external_table(self, topic: str) -> ExternalTable | None:
        place, _ = self._catalog.place(topic, 0)
        return ExternalTable("kafka", place, self._options.java(), self._catalog.spec(topic).partitions)

    # --- reading ---

    def read(
        self, topic: str, offset: int, *, max_records: int = 10_000, max_bytes: int = 16 << 20, partition: int = 0
    ) -> list[Record]:
        self._open()
        return self._reader.read(topic, offset, max_records, max_bytes, partition)

    def find(self, topic: str, record_id: str) -> Record | None:
        """A process's first call reads the whole topic and keeps 16 bytes per id on disk; later calls read what is new.
        `indexed_ids` and `unique_ids` make no difference. Across partitions, returns the record that was ingested last.
        """
        self._open()
        found = [
            record
            for partition in range(self._catalog.spec(topic).partitions)
            if (record := self._find(topic, partition, record_id)) is not None
        ]
        return max(found, default=None, key=lambda record: record.ingested_at)

    def _find(self, topic: str, partition: int, record_id: str) -> Record | None:
        offset = self._identities.newest(topic, self._catalog.place(topic, partition), record_id)
        if offset is None:
            return None
        record = next(iter(self._reader.read(topic, offset, 1, 1, partition)), None)
        return record if record is not None and record.id == record_id else None  # otherwise it has been dropped

    def offset(self, group: str, topic: str, partition: int = 0) -> int:
        self._open()
        found = self._broker.committed(self._group(group), [self._catalog.place(topic, partition)])
        return found[0].offset if found else 0

    def groups(self, topic: str | None = None) -> list[GroupOffset]:
        self._open()
        if topic is None:
            self._catalog.refresh()
        names = self._catalog.specs() if topic is None else {topic: self._catalog.spec(topic)}
        known = {f"{self._options.prefix}{name}": name for name in names}
        found = [
            _group_offset(group.removeprefix(self._options.prefix), known[one.topic], one)
            for group in self._broker.groups()
            for one in self._broker.committed(group)
            if one.topic in known
        ]
        return sorted(found, key=lambda one: (one.topic, one.group, one.partition))

    def state(self, owner: str, prefix: str = "") -> dict[str, StateEntry]:
        self._open()
        entries = self._changelog.entries(owner)
        return {key: entries[key] for key in sorted(entries) if key.startswith(prefix)}

    # --- writing ---

    def commit(self, commit: Commit) -> CommitResult:
        self._open()
        if commit.appends or commit.truncate:
            self._catalog.refresh()
        result = self._committer.commit(commit)
        if commit.truncate:
            self._finish_truncations()
        self._notices.say()
        return result

    def _finish_truncations(self) -> None:
        try:
            self._catalog.refresh()
            self._trimmer.finish_truncations()
        except RetryableError:
            return  # the records are hidden; the next trim, or the next opening of the log, deletes them

    def forget_group(self, group: str) -> None:
        self._broker.delete_group(self._group(group))

    def acquire_lease(self, role: str, holder: str) -> Lease:
        self._open()
        return self._committer.acquire(role, holder)

    def wait(self, timeout_seconds: float) -> bool:
        self._open()
        return self._notices.wait(timeout_seconds)

    def trim(self, now_ms: int) -> TrimReport:
        self._open()
        groups = self.groups()
        self._trimmer.finish_truncations()
        return TrimReport(self._trimmer.trim(now_ms, groups), 0)

    def redact(self, ids: Mapping[str, Collection[str]]) -> RedactionReport:
        raise FinalError(
            f"Kafka cannot redact records of {', '.join(sorted(ids))}: it assigns offsets itself, so rewriting a topic "
            "would change them and lose every group's position",
            where=self._options.bootstrap_servers,
            next_step="give the topic a shorter retention, or reset its resource from a source that no longer holds the data",
        )

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._committer.close()
        self._trimmer.close()
        self._changelog.close()
        self._cursors.close()
        self._kept.forget()
        self._identities.close()
        self._notices.close()

    def _open(self) -> None:
        if self._closed:
            raise FinalError("the log is closed", where=self._options.bootstrap_servers)

    def _group(self, group: str) -> str:
        return f"{self._options.prefix}{group}"

    # --- ends ---

    def _infos(self, specs: Sequence[TopicSpec]) -> list[TopicInfo]:
        """Asks for the starts of all topics at once, and for their ends."""
        places = [[self._catalog.place(spec.name, number) for number in range(spec.partitions)] for spec in specs]
        every = [place for some in places for place in some]
        starts, ends = self._broker.starts(every), self._broker.ends(every)
        return [self._info(spec, some, starts, ends) for spec, some in zip(specs, places, strict=True)]

    def _info(
        self, spec: TopicSpec, places: Sequence[Partition], starts: dict[Partition, int], ends: dict[Partition, int]
    ) -> TopicInfo:
        begins = {place: max(starts[place], self._catalog.cut(spec.name, place[1])) for place in places}
        last = max(self._past_the_last(place, begins[place], ends[place]) for place in places)
        return TopicInfo(spec, min(self._first(spec, place, begins[place]) for place in places), last, None)

    def _first(self, spec: TopicSpec, place: Partition, begin: int) -> int:
        """The first offset held; in a compacted topic it may be in its companion."""
        if not spec.compacted:
            return begin
        first = self._reader.read(spec.name, 0, 1, 1, place[1])
        return min(begin, first[0].offset) if first else begin

    def _past_the_last(self, place: Partition, start: int, end: int) -> int:
        """One past the last record before `end`: only transaction markers follow it."""
        known = self._last.get(place)
        if known is not None and known[0] == end:
            return max(known[1], start)
        step, floor = 2, known[1] if known is not None else 0
        floor = max(floor, start)
        while True:
            low = max(floor, end - step)
            found, offset = None, low
            while records := self._cursors.read(place, offset, max(0, end - 1), 10_000, 64 << 20):
                found = records[-1].offset + 1
                offset = found
            if found is not None or low <= floor:
                last = found if found is not None else floor
                with self._lock:
                    self._last[place] = (end, last)
                return last
            step *= 8


def _group_offset(group: str, topic: str, one: TopicPartition) -> GroupOffset:
    return GroupOffset(group, topic, one.offset, one.partition, int(one.metadata) if one.metadata else None)
