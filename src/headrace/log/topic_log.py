"""The port to the log.

A stage reads, works, and hands the log one `Commit`: outputs, offsets, state and registry moves become visible at
once or not at all. Nothing is computed inside a transaction, because a Commit is data.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headrace.log.record import NewRecord, Record
from headrace.log.redaction import RedactionReport

MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class LogCapabilities:
    """What a back end can do beyond the port's core; read while a resource is validated."""

    shared_between_machines: bool
    partitions: bool
    dense_offsets: bool = True
    """Whether offsets of a partition grow by one. False: they only grow, because the log keeps marks of its own between records."""
    pause_seconds: float = 0.0
    """How long a source waits between two small commits. Where a commit is a transaction over the network, small commits queue behind
    each other; batch them."""
    redacts: bool = False
    """Whether `redact` can take the bytes of single records away."""


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """How an engine that is no part of this process reads or writes a topic by itself."""

    technology: str
    """kafka"""
    topic: str
    """The topic's name there."""
    properties: Mapping[str, str]
    """The client's properties as the Java client names them: bootstrap.servers, security.protocol, sasl.jaas.config … May hold secrets."""
    partitions: int = 1


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is kept."""

    name: str
    partitions: int = 1
    retention_ms: int | None = None
    """Records that arrived longer ago than this go once every consumer group has passed them. None: they are kept without limit."""
    unique_ids: bool = False
    """A record whose id the topic still holds (or held, for as long as ids are kept) is not appended again."""
    indexed_ids: bool = False
    """`find` looks an id up in an index. Topics with `unique_ids` have one anyway."""
    compacted: bool = False
    """Of the records that retention would drop, the newest of each key stays, unless its value is empty (a tombstone). A reader from
    offset 0 therefore finds the newest record of every key, however old. Records without a key follow plain retention. What a newer
    record replaces goes at the latest when that one is old enough to go itself."""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as it stands."""

    spec: TopicSpec
    start_offset: int
    """First offset still held; the end where nothing is. In a compacted topic the records behind it have gaps."""
    end_offset: int
    """Offset that the next record will get."""
    bytes: int | None
    """Sum of the values held; None: the technology does not tell."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one process to commit as a stage."""

    role: str
    """The stage's name, such as `label/default.desk`."""
    epoch: int
    holder: str


@dataclass(frozen=True, slots=True)
class Append:
    """Records for one topic, in order."""

    topic: str
    records: Sequence[NewRecord]
    partition: int = 0


@dataclass(frozen=True, slots=True)
class GroupOffset:
    """The next offset that a consumer group will read."""

    group: str
    topic: str
    next_offset: int
    partition: int = 0
    hold: int | None = None
    """Oldest offset that the group may read again after a restart; retention stops there. None: `next_offset`."""


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A value of a commit owner's state."""

    value: bytes
    version: int
    """Grows by one at every write, from 1."""


@dataclass(frozen=True, slots=True)
class StateKey:
    """Where a value lies: the owner (a stage instance, `registry`, `resources` …) and the key."""

    owner: str
    key: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that becomes true at once. A reset is one commit too: outputs truncated, offsets put back, state cleared."""

    appends: Sequence[Append] = ()
    offsets: Sequence[GroupOffset] = ()
    state: Mapping[StateKey, bytes | None] = field(default_factory=dict[StateKey, bytes | None])
    """New values; None deletes."""
    expect: Mapping[StateKey, int] = field(default_factory=dict[StateKey, int])
    """Versions that must still stand (0: absent), else ConflictError and nothing is written. All of one owner's; every writer of
    such keys compares."""
    lease: Lease | None = None
    """Checked in the transaction: FencedError where the epoch is no longer this one."""
    truncate: Sequence[str] = ()
    """Topics whose records vanish with their ids before `appends` come in. Offsets go on growing, so groups keep their places."""
    clear: Sequence[str] = ()
    """Owners whose whole state goes before `state` is written."""


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What the log did with a Commit."""

    first_offsets: Mapping[str, int]
    """Per appended topic: the offset of its first new record."""
    duplicates: Mapping[str, int]
    """Per appended topic with `unique_ids`: how many records were there already."""


@dataclass(frozen=True, slots=True)
class TrimReport:
    """What retention gave back."""

    records: int
    bytes_freed: int
    """By which the file shrank."""


@dataclass(frozen=True, slots=True)
class DeletedTopic:
    """What a topic held when it was deleted."""

    records: int | None
    """None: the technology does not tell."""
    bytes: int | None
    """Sum of the values; None: the technology does not tell."""


NOTHING_DELETED = DeletedTopic(0, 0)


class TopicLog(Protocol):
    """Durable, ordered, replayable topics with transactions. All methods are safe from several threads and processes.

    Errors: DiskFullError and UnavailableError (nothing was written; the same call may be made again), FencedError,
    ConflictError, NotFoundError (a topic that was never ensured), CorruptDataError, StateVersionError (on opening).
    """

    @property
    def capabilities(self) -> LogCapabilities: ...

    def ensure_topic(self, spec: TopicSpec) -> None:
        """Creates the topic, or changes how an existing one is kept. Idempotent. For the topic's writer: the last call decides."""
        ...

    def ensure_exists(self, name: str) -> None:
        """Creates the topic where it is missing; an existing one stays as it is kept. For its readers."""
        ...

    def delete_topic(self, name: str) -> DeletedTopic:
        """Takes the topic away with its records, ids and every group's offsets, and gives the disk space back.

        Idempotent: nothing is deleted where there is no such topic. A topic that is created again begins at offset 0.
        """
        ...

    def topics(self) -> list[TopicInfo]:
        """Every topic, by name."""
        ...

    def topic(self, name: str) -> TopicInfo:
        """One topic. NotFoundError names the nearest ones."""
        ...

    def read(
        self,
        topic: str,
        offset: int,
        *,
        max_records: int = 10_000,
        max_bytes: int = 16 << 20,
        partition: int = 0,
    ) -> list[Record]:
        """Records from `offset` on, in order, at least one where there is one. An offset before the start reads from the start."""
        ...

    def find(self, topic: str, record_id: str) -> Record | None:
        """The newest record of that id. One look-up where the topic keeps `unique_ids` or `indexed_ids`, else the topic may be read."""
        ...

    def external_table(self, topic: str) -> ExternalTable | None:
        """What an outside engine needs to read or write the topic; None: nobody outside can."""
        ...

    def commit(self, commit: Commit) -> CommitResult:
        """Makes everything in `commit` durable and visible at once; returns after the disk has it.

        Concurrent calls of one process may share one transaction and one fsync (group commit); each still succeeds or fails alone.
        """
        ...

    def offset(self, group: str, topic: str, partition: int = 0) -> int:
        """The group's next offset; 0 where it never committed."""
        ...

    def groups(self, topic: str | None = None) -> list[GroupOffset]:
        """Every group that has committed on the topic; None: on any topic."""
        ...

    def forget_group(self, group: str) -> None:
        """Removes the group's offsets, so that retention no longer waits for it."""
        ...

    def state(self, owner: str, prefix: str = "") -> dict[str, StateEntry]:
        """All of an owner's entries whose key starts with `prefix`."""
        ...

    def acquire_lease(self, role: str, holder: str) -> Lease:
        """Takes the role over: the epoch grows, and its former holder is fenced from this moment."""
        ...

    def wait(self, timeout_seconds: float) -> bool:
        """Returns early, True, once anyone has committed since this thread's last call of `wait`."""
        ...

    def trim(self, now_ms: int) -> TrimReport:
        """Drops what retention allows and gives the disk space back."""
        ...

    def redact(self, ids: Mapping[str, Collection[str]]) -> RedactionReport:
        """Takes away what records say, by topic and id: see `log/redaction.py`. Offset, event time and arrival stay.

        Afterwards no file of the log holds the former bytes; it may be rewritten for that, so redact all topics in one call.
        UnavailableError: the records are redacted, but a reader still holds former bytes; call again. FinalError: the back end
        cannot (`capabilities.redacts`).
        """
        ...

    def close(self) -> None:
        """Flushes and closes; further calls raise."""
        ...
