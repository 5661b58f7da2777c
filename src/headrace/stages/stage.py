"""What every stage has in common: a lease, a step, and what it says of itself."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import msgspec

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FencedError, RetryableError
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import Commit, Lease, StateKey, TopicLog

STATUS_OWNER = "status"
PAUSE_SECONDS = 0.5
"""Between two writings of a status whose conditions stay the same."""


class Condition(msgspec.Struct, frozen=True):
    """One Kubernetes-shaped condition of a resource, as one stage sees it."""

    type: str
    """Such as `Ingesting`, `TeacherAvailable`, `Learning`."""
    status: Literal["True", "False", "Unknown"]
    reason: str
    """CamelCase."""
    message: str = ""
    since_ms: int = 0


class StageStatus(msgspec.Struct, frozen=True):
    """What a stage says of itself."""

    resource: str
    """`Kind/namespace/name`"""
    stage: str
    conditions: list[Condition] = []
    progress: dict[str, int | float | str] = {}


class Stage(Protocol):
    """Stepped by one thread of a role's process."""

    @property
    def name(self) -> str:
        """Unique among stages, the role of its lease and the owner of its state: `label/default.desk`."""
        ...

    def step(self) -> bool:
        """Does a bounded piece of work and commits it. False: there was nothing to do. Retryable errors are retried by the caller."""
        ...

    def close(self) -> None:
        """Releases its resources; commits nothing."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A stage whose figures may wait to be written."""

    def say_last(self) -> None:
        """Writes them, before it is closed in peace. Never after a failure."""
        ...


@dataclass(slots=True)
class StageReporter:
    """Writes a stage's conditions and progress into the log's state, when they change and not more often than `PAUSE_SECONDS` say."""

    log: TopicLog
    resource: ResourceId
    stage: str
    clock: Clock = SYSTEM_CLOCK
    _written: bytes = b""
    _written_at: float = -1.0
    _looked: bool = False
    _conditions: tuple[Condition, ...] = ()
    _progress: dict[str, int | float | str] | None = None
    _waiting: bool = False
    """Something was said and is not written yet."""

    def say(
        self, *conditions: Condition, progress: Mapping[str, int | float | str] | None = None, now: bool = False
    ) -> None:
        """Says it; `now` skips the pause between two writings. Without `progress`, the figures said last stand, also a former run's."""
        stamped = tuple(self._stamp(condition) for condition in conditions)
        urgent = now or [(c.type, c.status, c.reason) for c in stamped] != [
            (c.type, c.status, c.reason) for c in self._conditions
        ]
        self._conditions, self._waiting = stamped, True
        self._progress = dict(progress) if progress is not None else self._last_progress()
        if urgent or not self._pauses:
            self._write()

    def flush(self) -> None:
        """Writes what was said last, once the pause is over: for a stage that has nothing to do and says nothing new."""
        if self._waiting and not self._pauses:
            self._write()

    def end(self, lease: Lease) -> None:
        """Writes what was said last, unless another process has taken the stage over. Where the log is away, the next run says it."""
        if self._waiting:
            with suppress(RetryableError, FencedError):
                self._write(lease)

    @property
    def _pauses(self) -> bool:
        return self.clock.monotonic() - self._written_at < PAUSE_SECONDS

    def _write(self, lease: Lease | None = None) -> None:
        assert self._progress is not None
        status = msgspec.json.encode(
            StageStatus(str(self.resource), self.stage, list(self._conditions), self._progress)
        )
        if status != self._written:
            self.log.commit(Commit(state={StateKey(STATUS_OWNER, self._key): status}, lease=lease))
            self._written, self._written_at = status, self.clock.monotonic()
        self._waiting = False

    @property
    def said_false(self) -> bool:
        """Whether what was last said holds a condition that is False; at first, by a former run."""
        if not self._looked:
            self._looked = True
            entry = self.log.state(STATUS_OWNER, self._key).get(self._key)
            said = msgspec.json.decode(entry.value, type=StageStatus).conditions if entry else []
            self._conditions = tuple(said)
        return any(condition.status == "False" for condition in self._conditions)

    @property
    def _key(self) -> str:
        return f"{self.resource}/{self.stage}"

    def _last_progress(self) -> dict[str, int | float | str]:
        if self._progress is not None:
            return self._progress
        entry = self.log.state(STATUS_OWNER, self._key).get(self._key)
        return msgspec.json.decode(entry.value, type=StageStatus).progress if entry else {}

    def _stamp(self, condition: Condition) -> Condition:
        for known in self._conditions:
            if (known.type, known.status, known.reason) == (condition.type, condition.status, condition.reason):
                return msgspec.structs.replace(condition, since_ms=known.since_ms)
        return msgspec.structs.replace(condition, since_ms=self.clock.now_ms())


def read_statuses(log: TopicLog) -> list[StageStatus]:
    """Everything that stages said, by resource and stage."""
    entries = log.state(STATUS_OWNER)
    return [msgspec.json.decode(entries[key].value, type=StageStatus) for key in sorted(entries)]


def take_lease(log: TopicLog, stage: str, holder: str) -> Lease:
    """Fences the process that ran this stage before."""
    return log.acquire_lease(stage, holder)
