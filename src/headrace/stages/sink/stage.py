"""sink: a topic's records → a sink connector, each once, in two phases.

Prepare makes the records durable outside; one commit holds the offset and what was prepared; publish makes them visible. For a
sink that names batches, a commit before that says which records they are made of.
"""

from headrace.connectors.refusal import RefusedRecordsError
from headrace.connectors.registry import open_sink
from headrace.events import codec, topics
from headrace.events.addressing import opened
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import DEAD_RETENTION_MS, dead_record
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FencedError, FinalError, HeadraceError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.stage import Condition, StageReporter, take_lease

MAX_RECORDS = 5_000


class SinkStage:
    """Owns `sink/NAMESPACE.NAME`."""

    def __init__(self, options: SinkStageOptions, log: TopicLog, holder: str, clock: Clock = SYSTEM_CLOCK) -> None:
        sink = options.sink
        self.name = f"sink/{sink.id.path_name}"
        self._log, self._topic = log, options.topic
        self._dead = topics.dead(sink.id)
        log.ensure_exists(self._topic)
        log.ensure_topic(TopicSpec(self._dead, retention_ms=DEAD_RETENTION_MS))
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, sink.id, "sink", clock)
        self._offset = log.offset(self.name, self._topic)
        self._bound_key = StateKey(self.name, "bound")
        state = log.state(self.name)
        prepared, bound = state.get("prepared"), state.get("bound")
        self._bound = int(bound.value) if bound else 0
        """Offset behind the records that the next commit is about, where that is decided already."""
        self._sink = open_sink(sink)
        self._sink.recover(prepared.value if prepared else None)
        self._written = 0

    def step(self) -> bool:
        records = self._next()
        if not records:
            self._reporter.flush()
            return False
        data = [record for record in records if codec.is_data(record)]
        try:
            dead = self._write(data)
            prepared, refused = self._prepare(end=_is_end(records[-1]))
        except HeadraceError as error:
            reason = type(error).__name__.removesuffix("Error")
            self._reporter.say(Condition("Writing", "False", reason, str(error)), now=True)
            raise
        dead += refused
        failpoint("sink.commit.before")
        self._log.commit(
            Commit(
                appends=[Append(self._dead, dead)] if dead else [],
                offsets=[GroupOffset(self.name, self._topic, records[-1].offset + 1)],
                state={StateKey(self.name, "prepared"): prepared},
                lease=self._lease,
            )
        )
        failpoint("sink.commit.after")
        failpoint("sink.publish.before")
        self._sink.publish()
        failpoint("sink.publish.after")
        self._offset = records[-1].offset + 1
        self._written += len(data) - len(dead)
        self._reporter.say(Condition("Writing", "True", "Running"), progress={"written": self._written})
        return True

    def say_last(self) -> None:
        self._reporter.end(self._lease)

    def close(self) -> None:
        self._sink.close()

    def _next(self) -> list[Record]:
        """The records up to the next commit: where the sink names batches, the same ones again after a kill."""
        if self._bound > self._offset:
            return self._read_up_to(self._bound)
        records = opened(self._log.read(self._topic, self._offset, max_records=MAX_RECORDS), self.name)
        if records and self._sink.names_batches:
            bound = records[-1].offset + 1
            self._log.commit(Commit(state={self._bound_key: str(bound).encode()}, lease=self._lease))
            self._bound = bound
        return records

    def _read_up_to(self, bound: int) -> list[Record]:
        found: list[Record] = []
        offset = self._offset
        while offset < bound and (records := self._log.read(self._topic, offset, max_records=MAX_RECORDS)):
            found += opened([record for record in records if record.offset < bound], self.name)
            offset = records[-1].offset + 1
        return found

    def _prepare(self, *, end: bool) -> tuple[bytes, list[NewRecord]]:
        """What was made durable, and the letters of what the other side would not take."""
        refused: list[NewRecord] = []
        while True:
            try:
                return self._sink.prepare(end=end), refused
            except RefusedRecordsError as error:
                refused += [self._letter(one.record, one.reason) for one in error.refused]

    def _write(self, records: list[Record]) -> list[NewRecord]:
        """Writes all; records that the other side refuses for good become dead letters, one by one."""
        try:
            self._sink.write(records)
            return []
        except FencedError:
            raise
        except FinalError as error:
            if len(records) == 1:
                return [self._letter(records[0], str(error))]
        middle = len(records) // 2
        return self._write(records[:middle]) + self._write(records[middle:])

    def _letter(self, record: Record, reason: str) -> NewRecord:
        letter = DeadLetter(
            "sink", "refused", reason, record.id, record.value.decode(errors="backslashreplace")[: 64 << 10],
            source_topic=self._topic, source_offset=record.offset, replayable=True, reader=self.name,
        )  # fmt: skip
        return dead_record(derive_id(self._topic, record.offset, self.name), letter, record.event_time)


def _is_end(record: Record) -> bool:
    """Whether the stream says that it is at rest: what was written so far may be finished."""
    return record.kind == codec.CONTROL and codec.decode(record, Control).sign != "documents"
