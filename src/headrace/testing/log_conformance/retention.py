"""Retention: what may go, what must stay, and the space it took."""

from pathlib import Path

import pytest

from headrace.log.topic_log import Commit, GroupOffset, TopicLog, TopicSpec
from headrace.testing.builders import append, new_records, read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.log_conformance.place import LogPlace


class RetentionConformance(LogPlace):
    def test_retention_drops_what_is_old_and_passed_by_the_slowest_group_for_good(
        self, log: TopicLog, clock: VirtualClock
    ) -> None:
        log.ensure_topic(TopicSpec("ns.a", retention_ms=1_000, unique_ids=True))
        append(log, "ns.a", new_records(range(10), b"1234"))
        clock.advance(10)
        append(log, "ns.a", new_records(range(10, 20), b"1234"))
        places = [record.offset for record in read_all(log, "ns.a")]
        offsets = [GroupOffset("fast", "ns.a", places[-1] + 1), GroupOffset("slow", "ns.a", places[8], hold=places[5])]
        log.commit(Commit(offsets=offsets))

        assert log.trim(clock.now_ms()).records == 5
        assert (log.topic("ns.a").start_offset, log.topic("ns.a").bytes) in ((places[5], 60), (places[5], None))
        assert log.read("ns.a", 0)[0].offset == places[5]
        log.forget_group("slow")
        assert log.trim(clock.now_ms()).records == 5
        assert log.trim(clock.now_ms()).records == 0
        assert [r.offset for r in log.read("ns.a", 0)] == places[10:]
        clock.advance(10)
        assert log.trim(clock.now_ms()).records == 10
        assert log.read("ns.a", 0) == []
        assert log.topic("ns.a").end_offset > places[-1]
        assert append(log, "ns.a", new_records([0])) > places[-1]

    def test_a_topic_without_retention_keeps_everything(self, log: TopicLog, clock: VirtualClock) -> None:
        append(log, "ns.a", new_records(range(10)))
        clock.advance(10**9)

        assert log.trim(clock.now_ms()).records == 0
        assert log.topic("ns.a").start_offset == 0

    def test_a_group_that_has_not_read_a_partition_holds_all_of_it(self, log: TopicLog, clock: VirtualClock) -> None:
        if not log.capabilities.partitions:
            pytest.skip("this log has no partitions")
        log.ensure_topic(TopicSpec("ns.p", partitions=2, retention_ms=0))
        for partition in (0, 1):
            append(log, "ns.p", new_records(range(5)), partition=partition)
        log.commit(Commit(offsets=[GroupOffset("g", "ns.p", 5, partition=0)]))
        clock.advance(1)

        assert log.trim(clock.now_ms()).records == 5
        assert len(log.read("ns.p", 0, partition=1)) == 5

    def test_what_retention_drops_is_given_back_to_the_disk(
        self, log: TopicLog, clock: VirtualClock, state: Path
    ) -> None:
        empty = self.disk_usage(state)
        if empty is None:
            pytest.skip("this back end does not know what it takes on disk")
        log.ensure_topic(TopicSpec("ns.a", retention_ms=1_000))
        append(log, "ns.kept", new_records(range(100), b"y" * 1_000))
        for start in range(0, 20_000, 2_000):
            append(log, "ns.a", new_records(range(start, start + 2_000), bytes(1_000)))
        append(log, "ns.kept", new_records(range(100, 200), b"z" * 1_000))
        full = self.disk_usage(state)
        assert full is not None
        clock.advance(10)

        report = log.trim(clock.now_ms())
        after = self.disk_usage(state)

        assert after is not None
        assert report.records == 20_000
        assert after < empty + 1_000_000 < 20_000_000 < full
        assert report.bytes_freed > 18_000_000
        assert [r.id for r in read_all(log, "ns.kept")] == [f"r{n}" for n in range(200)]
