"""Fetches messages into lanes: handles new partitions, retention that overtakes the reader, and bounded memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from headrace.connectors.kafka.client import END_OF_PARTITION, OUT_OF_RANGE, Told, settings, translate
from headrace.connectors.kafka.lanes import Lane, Message
from headrace.connectors.kafka.options import Options
from headrace.connectors.kafka.places import Places
from headrace.connectors.records.dead_letters import dead_letter
from headrace.connectors.source import SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import HeadraceError, NotFoundError

LOOK_SECONDS = 10.0
"""Interval between checks for new partitions."""
_AT_ONCE = 2_000
"""Messages fetched at once."""
_MOST_WAITING = 20_000
"""Messages of one partition that may wait for other partitions before it is paused."""


class Fetcher:
    """Reads the partitions of one topic."""

    def __init__(self, source: SourceOptions, given: Options) -> None:
        """UnavailableError comes later, from the calls."""
        self._source, self._given = source, given
        self._told = Told(f"StreamConnector/{source.id.name}")
        self._consumer = Consumer(
            settings(
                given,
                **{
                    "group.id": f"headrace-{source.id.namespace}-{source.id.name}", "enable.auto.commit": False,
                    "isolation.level": "read_committed", "auto.offset.reset": "error", "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100, "error_cb": self._told.hear,
                },
            )
        )  # fmt: skip
        self.places = Places(self._consumer, given.topic, self._told, self._serve)
        self.lanes: dict[int, Lane] = {}
        """By partition, ascending."""
        self.dead: list[tuple[str, DeadLetter]] = []
        """What retention dropped before it was read; the source reports and clears it."""
        self._paused: set[int] = set()
        self._misplaced: set[int] = set()
        """Partitions whose offset is not on the broker."""
        self._looked = SYSTEM_CLOCK.monotonic()

    def begin(self, offsets: Mapping[int, int], ends: Mapping[int, int], highs: Mapping[int, int]) -> None:
        """Starts reading at these offsets, by partition."""
        lanes = {one: self._lane(one, offset) for one, offset in sorted(offsets.items())}
        for one, lane in lanes.items():
            lane.end = ends.get(one)
            lane.high = highs.get(one, lane.high)
        self.lanes = lanes
        self._consumer.assign([self._place(one, lane.fetched) for one, lane in lanes.items()])

    def fetch(self, deadline: float) -> None:
        """Adds messages to their lanes; waits until the deadline (monotonic seconds) if nothing can be emitted."""
        self._look_for_partitions()
        for one in tuple(self._misplaced):
            self._put_right(one)
        messages = self._consumer.consume(_AT_ONCE, 0)
        if not messages and not self._can_hand_out():
            messages = self._consumer.consume(1, max(0.0, deadline - SYSTEM_CLOCK.monotonic()))
            messages += self._consumer.consume(_AT_ONCE, 0) if messages else []
        if (fault := self._take_in(messages)) is not None:
            raise fault
        if self._told.all_down and not messages:
            self.places.partitions(1.0)  # UnavailableError while no broker responds
        self._told.all_down = False

    def behind(self) -> list[Lane]:
        """Partitions that may still have an earlier row than the others. One that was silent for the idle timeout blocks nothing."""
        idle_seconds, now = self._source.event_time.idle_timeout_ms / 1000, SYSTEM_CLOCK.monotonic()
        return [
            lane for lane in self.lanes.values()
            if not (lane.at_end or lane.done or lane.fetched >= self._end(lane) > 0 or now - lane.heard >= idle_seconds)
        ]  # fmt: skip

    def at_rest(self) -> bool:
        """Whether every available message was emitted."""
        return all((lane.at_end or lane.done) and not lane.waiting for lane in self.lanes.values())

    def lag(self) -> int:
        return sum(max(0, self._end(lane) - lane.next) for lane in self.lanes.values())

    def pause_and_resume(self) -> None:
        """Keeps partitions that are ahead from filling memory."""
        full = {one for one, lane in self.lanes.items() if lane.waiting > _MOST_WAITING}
        empty = {one for one in self._paused if self.lanes[one].waiting < _MOST_WAITING // 2}
        if more := full - self._paused:
            self._consumer.pause([self._place(one) for one in more])
        if empty:
            self._consumer.resume([self._place(one) for one in empty])
        self._paused = (self._paused | full) - empty

    def held(self, partition: int, offset: int) -> int:
        """The offset to continue at. Retention may have overtaken the reader: the loss is reported once.

        NotFoundError: the topic ends before that offset. UnavailableError.
        """
        low, high = self.places.bounds(partition)
        if offset > high:
            raise NotFoundError(
                f"{self._given.topic}/{partition} ends at {high} but was read up to {offset}: the topic was deleted and recreated",
                where=self._told.where, next_step="give the connector a new name to read the topic from its start",
            )  # fmt: skip
        if offset >= low:
            return offset
        reason = (
            f"retention dropped {low - offset} offsets of {self._given.topic}/{partition} ({offset} to {low - 1}) "
            "before they were read; the count includes transaction markers"
        )
        self.dead.append(
            dead_letter(
                source=f"{self._source.id.name}:{self._given.topic}/{partition}", position=f"{offset}-{low}",
                code="retention_passed", reason=reason, raw=b"",
            )
        )  # fmt: skip
        return low

    def close(self) -> None:
        self._consumer.close()

    def _can_hand_out(self) -> bool:
        return any(lane.waiting for lane in self.lanes.values()) and not self.behind()

    def _take_in(self, messages: Sequence[Any]) -> HeadraceError | None:
        """Adds all of them to their lanes: consumed messages do not come again. Returns an error that must stop reading."""
        fault: HeadraceError | None = None
        for message in messages:
            if (error := message.error()) is None:
                self._add(message)
            else:
                fault = self._meet(message, error) or fault
        return self._told.refusal or fault

    def _serve(self) -> None:
        """Lets the client report its problems; keeps messages that arrive in the process."""
        if (fault := self._take_in(self._consumer.consume(_AT_ONCE, 0))) is not None:
            raise fault

    def _add(self, message: Any) -> None:
        lane, offset = self.lanes[message.partition()], message.offset()
        lane.heard = SYSTEM_CLOCK.monotonic()
        lane.at_end = False
        if lane.end is not None and offset >= lane.end:
            lane.reached(lane.end)
        elif offset >= lane.fetched:
            lane.fetched = offset + 1
            lane.raw.append(
                Message(
                    lane.partition, offset, message.timestamp()[1], message.key(), message.value(), message.headers() or ()
                )
            )  # fmt: skip

    def _meet(self, message: Any, error: KafkaError) -> HeadraceError | None:
        """Handles what the client reports about a partition; returns an error that must stop reading."""
        if error.code() == END_OF_PARTITION:
            lane = self.lanes[message.partition()]
            lane.heard = SYSTEM_CLOCK.monotonic()
            lane.reached(message.offset())
            return None
        if error.code() in OUT_OF_RANGE:
            self._misplaced.add(message.partition())
            return None
        return None if error.retriable() else translate(error, self._told.where)

    def _put_right(self, partition: int) -> None:
        lane = self.lanes[partition]
        lane.fetched = self.held(partition, lane.fetched)
        if not lane.waiting:
            lane.next = lane.fetched
        self._consumer.incremental_unassign(
            [self._place(partition)]
        )  # a seek fails: the client has stopped reading this partition
        self._consumer.incremental_assign([self._place(partition, lane.fetched)])
        self._paused.discard(partition)
        self._misplaced.discard(partition)

    def _look_for_partitions(self) -> None:
        """Reads partitions added since, from their start. A bounded source keeps those it began with."""
        if self._given.bounded or SYSTEM_CLOCK.monotonic() - self._looked < LOOK_SECONDS:
            return
        fresh = [one for one in self.places.partitions() if one not in self.lanes]
        starts = self.places.starts(fresh, self._given.start, first=False) if fresh else {}
        for one, offset in starts.items():
            self._consumer.incremental_assign([self._place(one, offset)])
            self.lanes[one] = self._lane(one, offset)
        self.lanes = dict(sorted(self.lanes.items()))
        self._looked = SYSTEM_CLOCK.monotonic()

    def _lane(self, partition: int, offset: int) -> Lane:
        return Lane(partition, offset, offset, heard=SYSTEM_CLOCK.monotonic())

    def _place(self, partition: int, offset: int | None = None) -> TopicPartition:
        topic = self._given.topic
        return TopicPartition(topic, partition) if offset is None else TopicPartition(topic, partition, offset)

    def _end(self, lane: Lane) -> int:
        """The partition's end when the broker last reported it, or where a bounded source ends."""
        if lane.end is not None:
            return lane.end
        return self._consumer.get_watermark_offsets(self._place(lane.partition), cached=True)[1]
