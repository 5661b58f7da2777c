"""The port to the log.

A stage reads, works, and passes the log one `Commit`: outputs, offsets, state and registry changes become visible
together or not at all. A Commit is plain data, so nothing is computed inside a transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headrace.log.record import NewRecord, Record
from headrace.log.redaction import RedactionReport

MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class LogCapabilities:
    """What a back end can do beyond the port's core; checked when a resource is validated."""

    shared_between_machines: bool
    partitions: bool
    dense_offsets: bool = True
    """Whether a partition's offsets are contiguous. False: they only increase, because the log keeps its own markers between records."""
    pause_seconds: float = 0.0
    """How long a source waits between two small commits. If a commit is a transaction over the network, small commits queue behind each
    other; batch them."""
    redacts: bool = False
    """Whether `redact` can erase the bytes of single records."""


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """How an engine outside this process can read or write a topic directly."""

    technology: str
    """kafka"""
    topic: str
    """The topic's name on that technology."""
    properties: Mapping[str, str]
    """Client properties under the Java client's names: bootstrap.servers, security.protocol, sasl.jaas.config … May hold secrets."""
    partitions: int = 1


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is kept."""

    name: str
    partitions: int = 1
    retention_ms: int | None = None
    """Records older (by arrival) than this are dropped once every consumer group has passed them. None: keep them without limit."""
    unique_ids: bool = False
    """A record whose id the topic already has (or had, as long as ids are kept) is not appended."""
    indexed_ids: bool = False
    """`find` looks ids up in an index. Topics with `unique_ids` always have one."""
    compacted: bool = False
    """Among the records that retention would drop, the newest of each key is kept unless its value is empty (a tombstone). So a reader
    from offset 0 finds the newest record of every key, however old. Records without a key follow plain retention. A replaced record is
    dropped at the latest when the record that replaces it is old enough to be dropped."""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic's current state."""

    spec: TopicSpec
    start_offset: int
    """First offset still held; the end if the topic is empty. In a compacted topic there may be gaps after it."""
    end_offset: int
    """Offset of the next record."""
    bytes: int | None
    """Total size of the values; None: the technology does not report it."""


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
    """A consumer group's next offset to read."""

    group: str
    topic: str
    next_offset: int
    partition: int = 0
    hold: int | None = None
    """Oldest offset that the group may read again after a restart; retention keeps everything from there. None: `next_offset`."""


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A value in a commit owner's state."""

    value: bytes
    version: int
    """Starts at 1 and grows by one with every write."""


@dataclass(frozen=True, slots=True)
class StateKey:
    """The location of a value: its owner (a stage instance, `registry`, `resources` …) and key."""

    owner: str
    key: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that takes effect at once. A reset is one commit too: outputs truncated, offsets rewound, state cleared."""

    appends: Sequence[Append] = ()
    offsets: Sequence[GroupOffset] = ()
    state: Mapping[StateKey, bytes | None] = field(default_factory=dict[StateKey, bytes | None])
    """New values; None deletes."""
    expect: Mapping[StateKey, int] = field(default_factory=dict[StateKey, int])
    """Versions that must still be current (0: absent); otherwise ConflictError and nothing is written. All belong to one owner, and every
    writer of such keys must compare."""
    lease: Lease | None = None
    """Checked in the transaction: FencedError if the epoch is no longer current."""
    truncate: Sequence[str] = ()
    """Topics whose records and ids are removed before `appends`. Offsets keep counting, so groups keep their positions."""
    clear: Sequence[str] = ()
    """Owners whose entire state is removed before `state` is written."""


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The log's result for a Commit."""

    first_offsets: Mapping[str, int]
    """Per appended topic: the offset of its first new record."""
    duplicates: Mapping[str, int]
    """Per appended topic with `unique_ids`: how many records were already there."""


@dataclass(frozen=True, slots=True)
class TrimReport:
    """What retention dropped."""

    records: int
    bytes_freed: int
    """How much the file shrank, in bytes."""


@dataclass(frozen=True, slots=True)
class DeletedTopic:
    """What a topic held when it was deleted."""

    records: int | None
    """None: the technology does not report it."""
    bytes: int | None
    """Total size of the values; None: the technology does not report it."""


NOTHING_DELETED = DeletedTopic(0, 0)


class TopicLog(Protocol):
    """Durable, ordered, replayable topics with transactions. All methods are thread-safe and process-safe.

    Errors: DiskFullError and UnavailableError (nothing was written; the call may be repeated), FencedError,
    ConflictError, NotFoundError (a topic that was never created), CorruptDataError, StateVersionError (on opening).
    """

    @property
    def capabilities(self) -> LogCapabilities: ...

    def ensure_topic(self, spec: TopicSpec) -> None:
        """Creates the topic, or changes how an existing one is kept. Idempotent. For the topic's writer: the last call wins."""
        ...

    def ensure_exists(self, name: str) -> None:
        """Creates the topic if it does not exist; never changes an existing one. For the topic's readers."""
        ...

    def delete_topic(self, name: str) -> DeletedTopic:
        """Deletes the topic with its records, ids and every group's offsets, and returns its disk space.

        Idempotent: does nothing if the topic does not exist. A recreated topic begins at offset 0.
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
        """Records from `offset` on, in order; at least one if there is one. An offset before the start reads from the start."""
        ...

    def find(self, topic: str, record_id: str) -> Record | None:
        """The newest record with that id. One lookup if the topic keeps `unique_ids` or `indexed_ids`; otherwise it may scan the topic."""
        ...

    def external_table(self, topic: str) -> ExternalTable | None:
        """What an outside engine needs to read or write the topic; None: outside engines cannot."""
        ...

    def commit(self, commit: Commit) -> CommitResult:
        """Makes everything in `commit` durable and visible at once; returns once it is on disk.

        Concurrent calls of one process may share a transaction and an fsync (group commit); each still succeeds or fails on its own.
        """
        ...

    def offset(self, group: str, topic: str, partition: int = 0) -> int:
        """The group's next offset; 0 if it never committed."""
        ...

    def groups(self, topic: str | None = None) -> list[GroupOffset]:
        """Every group that has committed on the topic, or on any topic if None."""
        ...

    def forget_group(self, group: str) -> None:
        """Removes the group's offsets, so that retention no longer waits for it."""
        ...

    def state(self, owner: str, prefix: str = "") -> dict[str, StateEntry]:
        """All of an owner's entries whose key starts with `prefix`."""
        ...

    def acquire_lease(self, role: str, holder: str) -> Lease:
        """Takes the role: the epoch grows, and the previous holder is fenced from that moment."""
        ...

    def wait(self, timeout_seconds: float) -> bool:
        """Returns True early once any process has committed since this thread's last call of `wait`."""
        ...

    def trim(self, now_ms: int) -> TrimReport:
        """Drops what retention allows and returns the disk space."""
        ...

    def redact(self, ids: Mapping[str, Collection[str]]) -> RedactionReport:
        """Erases the content of records, by topic and id: see `log/redaction.py`. Offset, event time and arrival stay.

        Afterwards none of the log's files contains the former bytes. This may rewrite a file, so redact all topics in one call.
        UnavailableError: the records are redacted, but a reader still keeps former bytes; call again. FinalError: the back end
        cannot (`capabilities.redacts`).
        """
        ...

    def close(self) -> None:
        """Flushes and closes; later calls raise."""
        ...
