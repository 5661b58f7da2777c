"""Writes one Commit as one Kafka transaction.

A commit under a lease uses the lease's own transactional id, which fences. A commit that compares versions, or must not repeat
an id that another process may be writing, uses one shared transactional id: no other process can have committed through it between
our taking it and our commit, because that would have fenced us.
"""

import threading
import uuid
from collections.abc import Mapping, Sequence
from functools import partial

from confluent_kafka import TopicPartition

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import ConflictError, FinalError, UnavailableError
from headrace.log.kafka import leases
from headrace.log.kafka.broker import Broker, Partition
from headrace.log.kafka.catalog import Catalog, cut_key, encode_offsets
from headrace.log.kafka.changelog import Changelog, Entries
from headrace.log.kafka.identities import Identities
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.producers import GroupMove, Message, ProducerFencedError, Run, TransactionalProducer, Written
from headrace.log.kafka.wire import escaped, to_message
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, CommitResult, GroupOffset, Lease, StateKey

SHARED = "shared"
_ATTEMPTS = 50
"""Attempts to commit under a shared id that other processes keep taking; each of them has committed in between."""
_VISIBLE_SECONDS = 2.0
"""How long a commit waits until others can read it. If another process's open transaction precedes it, they read it later."""


class Committer:
    """Thread-safe; commits of one role, and commits that share an id, run one after another."""

    def __init__(
        self,
        options: KafkaOptions,
        broker: Broker,
        changelog: Changelog,
        catalog: Catalog,
        identities: Identities,
        clock: Clock,
    ) -> None:
        self._options, self._broker, self._changelog, self._catalog = options, broker, changelog, catalog
        self._identities, self._clock = identities, clock
        self._deletions = 0
        self._producers: dict[str, TransactionalProducer] = {}
        self._leased: dict[str, Lease] = {}
        self._anonymous = f"process.{uuid.uuid4().hex}"
        self._lock = threading.Lock()

    def commit(self, commit: Commit, extra: Sequence[tuple[Partition, Run]] = ()) -> CommitResult:
        """`extra`: messages for places that are not topics of the port."""
        unique = any(self._keeps_ids_unique(append.topic) for append in commit.appends)
        if commit.expect or (unique and commit.lease is None):
            return self._through(_shared_id(commit), commit, extra)
        if commit.lease is not None:
            return self._under_lease(commit, commit.lease)
        return self._through(self._anonymous, commit, extra)

    def forget(self) -> None:
        """A topic was deleted: producers may have stale data about topics they wrote to, so they start over."""
        self._deletions += 1

    def acquire(self, role: str, holder: str) -> Lease:
        """The role's next epoch, for `holder`."""
        while True:
            entry = self._changelog.entries(leases.OWNER).get(role)
            lease = Lease(role, leases.decode(role, entry).epoch + 1 if entry else 1, holder)
            key = StateKey(leases.OWNER, role)
            write = Commit(state={key: leases.encode(lease)}, expect={key: entry.version if entry else 0})
            try:
                self.commit(write)
            except ConflictError:
                continue
            producer = self._producer(_role_id(role))
            with producer.lock:
                producer.begin(self._deletions)
                self._leased[role] = lease
            return lease

    def close(self) -> None:
        with self._lock:
            producers, self._producers = list(self._producers.values()), {}
        for producer in producers:
            producer.close()

    def _producer(self, name: str) -> TransactionalProducer:
        with self._lock:
            if name not in self._producers:
                self._producers[name] = TransactionalProducer(self._options, name)
            return self._producers[name]

    def _under_lease(self, commit: Commit, lease: Lease) -> CommitResult:
        producer = self._producer(_role_id(lease.role))
        fenced: ProducerFencedError | None = None
        with producer.lock:
            for _ in range(_ATTEMPTS):
                if not producer.begun_since(self._deletions) or self._leased.get(lease.role) != lease:
                    leases.check(self._changelog, lease)
                    producer.begin(self._deletions)
                    leases.check(self._changelog, lease)  # check again: another process may have replaced us
                    self._leased[lease.role] = lease
                try:
                    return self._write(producer, commit, ())
                except ProducerFencedError as error:
                    fenced = error
            raise _crowded(fenced)

    def _through(self, name: str, commit: Commit, extra: Sequence[tuple[Partition, Run]]) -> CommitResult:
        producer = self._producer(name)
        fenced: ProducerFencedError | None = None
        with producer.lock:
            for _ in range(_ATTEMPTS):
                if not producer.begun_since(self._deletions):
                    producer.begin(self._deletions)
                try:
                    if commit.lease is not None:
                        leases.check(self._changelog, commit.lease)
                    return self._write(producer, commit, extra)
                except ProducerFencedError as error:
                    fenced = error
            raise _crowded(fenced)

    def _write(
        self, producer: TransactionalProducer, commit: Commit, extra: Sequence[tuple[Partition, Run]]
    ) -> CommitResult:
        state = {**commit.state, **self._cuts(commit.truncate)}
        named = {*(key.owner for key in (*state, *commit.expect)), *commit.clear}
        owners = {owner: self._changelog.entries(owner) for owner in named}
        for key, version in commit.expect.items():
            _check_version(owners[key.owner], key, version)
        now_ms = self._clock.now_ms()
        runs: list[Run] = []
        places: list[Partition] = []
        duplicates: dict[str, int] = {}
        seen: dict[str, set[str]] = {}
        for append in commit.appends:
            name = self._catalog.place(append.topic, append.partition)
            records: Sequence[NewRecord] = append.records
            if self._keeps_ids_unique(append.topic):
                known = seen.setdefault(append.topic, set())
                records = self._unseen(append, name, known, emptied=append.topic in commit.truncate)
                duplicates[append.topic] = duplicates.get(append.topic, 0) + len(append.records) - len(records)
            runs.append(Run(len(records), map(partial(to_message, *name, now_ms), records)))
            places.append(name)
        changes = [*self._changes(state, commit.clear, owners), *extra]
        moves = self._moves(commit.offsets)
        written = producer.write([*runs, *(run for _, run in changes)], moves)
        self._wait_until_visible([*places, *(place for place, _ in changes)], written)
        return CommitResult(self._firsts(commit.appends, places, written), duplicates)

    def _keeps_ids_unique(self, topic: str) -> bool:
        """As last declared by any process. False for a topic that was never created."""
        spec = self._catalog.specs().get(topic)
        return spec is not None and spec.unique_ids

    def _cuts(self, topics: Sequence[str]) -> dict[StateKey, bytes | None]:
        """The writes that truncate topics: readers then start where each partition ends now."""
        found: dict[StateKey, bytes | None] = {}
        for topic in topics:
            places = [self._catalog.place(topic, number) for number in range(self._catalog.spec(topic).partitions)]
            ends = self._broker.ends(places)
            found[cut_key(topic)] = encode_offsets({number: ends[place] for number, place in enumerate(places)})
        return found

    def _unseen(self, append: Append, place: Partition, here: set[str], *, emptied: bool) -> list[NewRecord]:
        """The records whose ids are neither in the topic nor earlier in the commit."""
        held = set[str]()
        if not emptied:
            since = self._catalog.cut(append.topic, append.partition)
            held = self._identities.held(append.topic, place, (record.id for record in append.records), since)
        found: list[NewRecord] = []
        for record in append.records:
            if record.id not in held and record.id not in here:
                found.append(record)
                here.add(record.id)
        return found

    def _changes(
        self, state: Mapping[StateKey, bytes | None], clear: Sequence[str], owners: dict[str, Entries]
    ) -> list[tuple[Partition, Run]]:
        gone = {StateKey(owner, key): None for owner in clear for key in owners[owner]}
        runs: dict[str, list[Message]] = {}
        for key, value in {**gone, **state}.items():
            entry = owners[key.owner].get(key.key)
            if value is None and entry is None:
                continue
            version = entry.version + 1 if entry and key.owner not in clear else 1
            topic = self._changelog.ensure(key.owner)
            runs.setdefault(topic, []).append(self._changelog.change(topic, key.key, value, version))
        return [((topic, 0), Run(len(run), run)) for topic, run in runs.items()]

    def _moves(self, offsets: Sequence[GroupOffset]) -> list[GroupMove]:
        groups: dict[str, list[TopicPartition]] = {}
        for one in offsets:
            name = self._catalog.place(one.topic, one.partition)
            hold = "" if one.hold is None else str(one.hold)
            groups.setdefault(one.group, []).append(TopicPartition(*name, one.next_offset, hold))
        return [GroupMove(f"{self._options.prefix}{group}", tuple(moved)) for group, moved in groups.items()]

    def _firsts(self, appends: Sequence[Append], places: Sequence[Partition], written: Written) -> dict[str, int]:
        """The offset of each topic's first new record; if nothing was written, the next offset."""
        firsts: dict[str, int] = {}
        for append, run in zip(appends, written.runs, strict=False):
            if run is not None:
                firsts.setdefault(append.topic, run[0])
        for append, place in zip(appends, places, strict=True):
            if append.topic not in firsts:
                firsts[append.topic] = self._broker.ends([place])[place]
        return firsts

    def _wait_until_visible(self, places: Sequence[Partition], written: Written) -> None:
        """Waits until every partition shows the transaction's end, which is known earlier."""
        left = {place: run[1] for place, run in zip(places, written.runs, strict=True) if run is not None}
        deadline = SYSTEM_CLOCK.monotonic() + _VISIBLE_SECONDS
        while left and SYSTEM_CLOCK.monotonic() < deadline:
            ends = self._broker.ends(list(left))
            left = {place: last for place, last in left.items() if ends[place] <= last}


def _crowded(error: ProducerFencedError | None) -> UnavailableError:
    return UnavailableError(f"other processes took the transactional id {_ATTEMPTS} times in a row: {error}")


def _shared_id(commit: Commit) -> str:
    """The id to compare under: one per owner of keys. Topics that keep ids unique share one."""
    owners = sorted({key.owner for key in commit.expect})
    if len(owners) > 1:
        raise FinalError(f"a commit may compare versions of one owner only, not of: {', '.join(owners)}")
    return f"shared.{escaped(owners[0])}" if owners else SHARED


def _role_id(role: str) -> str:
    return f"role.{role}"


def _check_version(entries: Entries, key: StateKey, version: int) -> None:
    entry = entries.get(key.key)
    current = entry.version if entry else 0
    if current != version:
        raise ConflictError(
            f"the state {key.owner}/{key.key} is at version {current}, not {version}: another process changed it",
            next_step="read it again and repeat the change",
        )
