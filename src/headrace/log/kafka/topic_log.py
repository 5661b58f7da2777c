"""The port on Kafka."""

import threading
from difflib import get_close_matches

import msgspec
from confluent_kafka import TopicPartition

from headrace.foundation.clock import Clock
from headrace.foundation.errors import ConflictError, FinalError, InvalidDeclarationError, NotFoundError
from headrace.log.kafka.broker import KEPT, Broker, Partition
from headrace.log.kafka.changelog import Changelog
from headrace.log.kafka.committing import Committer
from headrace.log.kafka.cursors import Cursors
from headrace.log.kafka.identities import Identities
from headrace.log.kafka.notices import Notices
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.retention import first_to_keep
from headrace.log.record import Record
from headrace.log.topic_log import (
    Commit,
    CommitResult,
    ExternalTable,
    GroupOffset,
    Lease,
    LogCapabilities,
    StateEntry,
    StateKey,
    TopicInfo,
    TopicSpec,
    TrimReport,
)

_CAPABILITIES = LogCapabilities(shared_between_machines=True, partitions=True, dense_offsets=False, pause_seconds=0.02)
TOPICS = "topics"
"""The owner of the topics' specifications."""


class _Kept(msgspec.Struct, frozen=True):
    partitions: int
    retention_ms: int | None
    unique_ids: bool


class KafkaTopicLog:
    """One administrative connection, a producer per role, a consumer per place that is read."""

    def __init__(self, options: KafkaOptions, clock: Clock) -> None:
        self._options = options
        self._broker = Broker(options)
        self._broker.connect()
        self._notices = Notices(options, self._broker, clock)
        self._cursors = Cursors(options, self._broker)
        self._changelog = Changelog(options, self._broker)
        self._identities = Identities(self._cursors)
        self._committer = Committer(options, self._broker, self._changelog, self._identities, clock)
        self._specs: dict[str, TopicSpec] = {}
        self._last: dict[Partition, tuple[int, int]] = {}
        """partition → (its end, one past its last record)"""
        self._lock = threading.Lock()
        self._closed = False

    @property
    def capabilities(self) -> LogCapabilities:
        return _CAPABILITIES

    # --- topics ---

    def ensure_topic(self, spec: TopicSpec) -> None:
        self._open()
        if self._specs.get(spec.name) == spec or self._read_specs().get(spec.name) == spec:
            return
        name = self._name(spec.name)
        there = self._broker.partitions(name)
        if there is None:
            self._broker.create(name, spec.partitions, KEPT)
        elif there > spec.partitions:
            raise InvalidDeclarationError(
                f"the topic {name} has {there} partitions, {spec.partitions} are declared, and Kafka takes none away",
                next_step=f"declare {there}, or another name",
            )
        elif there < spec.partitions:
            self._broker.grow(name, spec.partitions)
        self._keep(spec)
        self._specs[spec.name] = spec

    def _keep(self, spec: TopicSpec) -> None:
        """Writes how a topic is kept, one writer after the other: transactions that overlap would hide each other's for a while."""
        key = StateKey(TOPICS, spec.name)
        kept = msgspec.json.encode(_Kept(spec.partitions, spec.retention_ms, spec.unique_ids))
        while True:
            entry = self._changelog.entries(TOPICS).get(spec.name)
            if entry is not None and entry.value == kept:
                return
            try:
                self.commit(Commit(state={key: kept}, expect={key: entry.version if entry else 0}))
            except ConflictError:
                continue
            return

    def topics(self) -> list[TopicInfo]:
        self._open()
        return [self._info(spec) for _, spec in sorted(self._read_specs().items())]

    def topic(self, name: str) -> TopicInfo:
        self._open()
        return self._info(self._spec(name))

    def external_table(self, topic: str) -> ExternalTable | None:
        spec = self._spec(topic)
        return ExternalTable("kafka", self._name(topic), self._options.java(), spec.partitions)

    # --- reading ---

    def read(
        self, topic: str, offset: int, *, max_records: int = 10_000, max_bytes: int = 16 << 20, partition: int = 0
    ) -> list[Record]:
        return self._cursors.read(self._partition(topic, partition), offset, max_records, max_bytes)

    def find(self, topic: str, record_id: str) -> Record | None:
        place = self._partition(topic, 0)
        offset = self._identities.of(place).get(record_id)
        if offset is None:
            return None
        return next(iter(self._cursors.read(place, offset, 1, 1)), None)

    def offset(self, group: str, topic: str, partition: int = 0) -> int:
        place = self._partition(topic, partition)
        found = self._broker.committed(self._group(group), [place])
        return found[0].offset if found else 0

    def groups(self, topic: str) -> list[GroupOffset]:
        self._spec(topic)
        name = self._name(topic)
        return [
            _group_offset(group.removeprefix(self._options.prefix), topic, one)
            for group in self._broker.groups()
            for one in self._broker.committed(group)
            if one.topic == name
        ]

    def state(self, owner: str, prefix: str = "") -> dict[str, StateEntry]:
        self._open()
        entries = self._changelog.entries(owner)
        return {key: entries[key] for key in sorted(entries) if key.startswith(prefix)}

    # --- writing ---

    def commit(self, commit: Commit) -> CommitResult:
        self._open()
        if commit.appends:
            self._read_specs()
        result = self._committer.commit(commit, self)
        self._notices.say()
        return result

    def forget_group(self, group: str) -> None:
        self._broker.delete_group(self._group(group))

    def acquire_lease(self, role: str, holder: str) -> Lease:
        self._open()
        return self._committer.acquire(role, holder, self)

    def wait(self, timeout_seconds: float) -> bool:
        self._open()
        return self._notices.wait(timeout_seconds)

    def trim(self, now_ms: int) -> TrimReport:
        self._open()
        records = 0
        for spec in self._read_specs().values():
            if spec.retention_ms is not None:
                records += self._trim(spec, now_ms - spec.retention_ms)
        return TrimReport(records, 0)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._committer.close()
        self._changelog.close()
        self._cursors.close()
        self._notices.close()

    # --- names ---

    def _open(self) -> None:
        if self._closed:
            raise FinalError("the log is closed", where=self._options.bootstrap_servers)

    def kafka_name(self, topic: str) -> str:
        """Kafka's name of a topic. NotFoundError names the nearest ones."""
        return self._name(self._spec(topic).name)

    def keeps_ids_unique(self, topic: str) -> bool:
        """As the topic was ensured last, by anybody."""
        spec = self._specs.get(topic)
        return spec is not None and spec.unique_ids

    def _name(self, topic: str) -> str:
        return f"{self._options.prefix}{topic}"

    def _group(self, group: str) -> str:
        return f"{self._options.prefix}{group}"

    def _partition(self, topic: str, partition: int) -> Partition:
        self._open()
        spec = self._spec(topic)
        if partition >= spec.partitions:
            raise NotFoundError(
                f"the topic {topic!r} has partitions 0 to {spec.partitions - 1}, none of number {partition}"
            )
        return self._name(topic), partition

    def _spec(self, topic: str) -> TopicSpec:
        spec = self._specs.get(topic) or self._read_specs().get(topic)
        if spec is None:
            near = get_close_matches(topic, self._specs, n=3) or sorted(self._specs)[:3]
            raise NotFoundError(
                f"there is no topic {topic!r}",
                next_step=f"the nearest are {', '.join(near)}" if near else "the log has no topics yet",
            )
        return spec

    def _read_specs(self) -> dict[str, TopicSpec]:
        entries = self._changelog.entries(TOPICS)
        specs: dict[str, TopicSpec] = {}
        for name, entry in entries.items():
            kept = msgspec.json.decode(entry.value, type=_Kept)
            specs[name] = TopicSpec(name, kept.partitions, kept.retention_ms, kept.unique_ids)
        self._specs = specs
        return specs

    # --- ends and retention ---

    def _info(self, spec: TopicSpec) -> TopicInfo:
        places = [(self._name(spec.name), number) for number in range(spec.partitions)]
        starts = self._broker.starts(places)
        ends = self._broker.ends(places)
        last = max(self._past_the_last(place, starts[place], ends[place]) for place in places)
        return TopicInfo(spec, min(starts.values()), last, None)

    def _past_the_last(self, place: Partition, start: int, end: int) -> int:
        """One past the last record before `end`: behind it stand marks of transactions alone."""
        known = self._last.get(place)
        if known is not None and known[0] == end:
            return max(known[1], start)
        step, floor = 2, known[1] if known is not None else 0
        floor = max(floor, start)
        while True:
            low = max(floor, end - step)
            found, offset = None, low
            while records := self._cursors.read(place, offset, 10_000, 64 << 20):
                found = records[-1].offset + 1
                offset = found
            if found is not None or low <= floor:
                last = found if found is not None else floor
                with self._lock:
                    self._last[place] = (end, last)
                return last
            step *= 8

    def _trim(self, spec: TopicSpec, before_ms: int) -> int:
        places = [(self._name(spec.name), number) for number in range(spec.partitions)]
        starts, ends = self._broker.starts(places), self._broker.ends(places)
        held = self._held(spec, starts, ends)
        dropped, cuts = 0, dict[Partition, int]()
        for number, place in enumerate(places):
            cut, count = first_to_keep(self._cursors, place, starts[place], held[number], before_ms)
            if count:
                cuts[place], dropped = cut, dropped + count
        if cuts:
            self._broker.delete_before(cuts)
        return dropped

    def _held(self, spec: TopicSpec, starts: dict[Partition, int], ends: dict[Partition, int]) -> list[int]:
        """For each partition the offset that its slowest group may still read."""
        groups: dict[str, dict[int, int]] = {}
        for one in self.groups(spec.name):
            hold = one.next_offset if one.hold is None else one.hold
            groups.setdefault(one.group, {})[one.partition] = min(hold, one.next_offset)
        name = self._name(spec.name)
        return [
            min([ends[name, number], *(of.get(number, starts[name, number]) for of in groups.values())])
            for number in range(spec.partitions)
        ]


def _group_offset(group: str, topic: str, one: TopicPartition) -> GroupOffset:
    return GroupOffset(group, topic, one.offset, one.partition, int(one.metadata) if one.metadata else None)
