"""Topics, records, offsets, ids."""

from collections.abc import Callable

import pytest

from headrace.foundation.errors import NotFoundError
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, GroupOffset, TopicLog, TopicSpec
from headrace.testing.builders import append, new_record, new_records, read_all, stored
from headrace.testing.clock import VirtualClock
from headrace.testing.log_conformance.place import LogPlace, OpenLog


class TopicConformance(LogPlace):
    def test_records_come_back_in_order_under_offsets_that_grow_across_commits_and_reopening(
        self, open_log: OpenLog, clock: VirtualClock
    ) -> None:
        log = open_log(clock)
        written = new_records(range(25))
        firsts = [append(log, "ns.a", part) for part in (written[:1], written[1:20], written[20:])]
        log.close()

        reopened = open_log(clock)

        back = read_all(reopened, "ns.a")
        places = [record.offset for record in back]
        assert back == [stored(r, n, clock.now_ms()) for n, r in zip(places, written, strict=True)]
        assert firsts == [places[0], places[1], places[20]]
        assert places == sorted(set(places))
        assert append(reopened, "ns.a", new_records([99])) > places[-1]
        if reopened.capabilities.dense_offsets:
            assert places == list(range(25))

    def test_a_record_keeps_every_field_and_every_byte(self, log: TopicLog) -> None:
        written = [
            NewRecord("id \0 ü 你", "example/1", bytes(range(256)) * 20_000, -5, "k/\n", '{"source":"s"}', 7),
            NewRecord("", "", b"", 2**62, "", "", 2**62),
        ]

        append(log, "ns.a", written)

        assert log.read("ns.a", 0) == [stored(record, offset) for offset, record in enumerate(written)]

    def test_a_read_stops_at_its_limits_but_gives_one_record_at_least(self, log: TopicLog) -> None:
        append(log, "ns.a", new_records(range(10), b"x" * 100))

        assert [r.offset for r in log.read("ns.a", 3, max_records=2)] == [3, 4]
        assert [r.offset for r in log.read("ns.a", 0, max_bytes=350)] == [0, 1, 2]
        assert [r.offset for r in log.read("ns.a", 9, max_bytes=1)] == [9]
        assert log.read("ns.a", 10) == []

    def test_arrival_is_stamped_once_per_commit_and_an_earlier_stamp_is_kept(
        self, log: TopicLog, clock: VirtualClock
    ) -> None:
        before = clock.now_ms()
        append(log, "ns.a", [new_record("a"), new_record("b", ingested_at=5), new_record("c")])
        clock.advance(1)
        append(log, "ns.a", [new_record("d")])

        assert [r.ingested_at for r in log.read("ns.a", 0)] == [before, 5, before, before + 1_000]

    def test_a_topic_tells_how_it_is_kept_and_what_it_holds(self, log: TopicLog) -> None:
        spec = TopicSpec("ns.b", retention_ms=1_000, unique_ids=True)
        log.ensure_topic(spec)
        log.ensure_topic(spec)
        append(log, "ns.b", new_records(range(3), b"four"))
        changed = TopicSpec("ns.b", retention_ms=None, unique_ids=False)

        info = log.topic("ns.b")
        log.ensure_topic(changed)

        assert (info.spec, info.start_offset, info.end_offset, info.bytes) in ((spec, 0, 3, 12), (spec, 0, 3, None))
        assert log.topic("ns.b").spec == changed
        assert [topic.spec.name for topic in log.topics()] == ["ns.a", "ns.b"]

    def test_a_topic_that_was_never_ensured_is_not_found_and_the_nearest_is_named(self, log: TopicLog) -> None:
        calls: list[Callable[[], object]] = [
            lambda: log.read("ns.aa", 0),
            lambda: log.topic("ns.aa"),
            lambda: log.find("ns.aa", "r0"),
            lambda: log.offset("g", "ns.aa"),
            lambda: log.groups("ns.aa"),
            lambda: log.commit(Commit(appends=[Append("ns.aa", new_records([1]))])),
            lambda: log.commit(Commit(offsets=[GroupOffset("g", "ns.aa", 1)])),
        ]
        for call in calls:
            with pytest.raises(NotFoundError, match=r"ns\.aa.*ns\.a"):
                call()

    def test_partitions_have_offsets_of_their_own(self, log: TopicLog) -> None:
        if not log.capabilities.partitions:
            pytest.skip("this log has no partitions")
        log.ensure_topic(TopicSpec("ns.p", partitions=2))
        append(log, "ns.p", new_records([1, 2]), partition=1)
        append(log, "ns.p", new_records([3]), partition=0)
        log.commit(Commit(offsets=[GroupOffset("g", "ns.p", 2, partition=1)]))

        assert [r.id for r in log.read("ns.p", 0, partition=1)] == ["r1", "r2"]
        assert [(r.offset, r.id) for r in log.read("ns.p", 0)] == [(0, "r3")]
        assert (log.offset("g", "ns.p"), log.offset("g", "ns.p", partition=1)) == (0, 2)
        with pytest.raises(NotFoundError, match="partitions 0 to 1"):
            log.read("ns.p", 0, partition=2)

    @pytest.mark.parametrize("unique_ids", [False, True])
    def test_the_newest_record_of_an_id_is_found(self, log: TopicLog, unique_ids: bool) -> None:
        log.ensure_topic(TopicSpec("ns.b", unique_ids=unique_ids))
        append(log, "ns.b", new_records(["x", "y", "x"]))

        found = log.find("ns.b", "x")

        assert found is not None
        assert found.offset == (0 if unique_ids else 2)
        assert log.find("ns.b", "z") is None

    def test_a_repeated_id_is_not_appended_again_and_is_counted(self, log: TopicLog, open_log: OpenLog) -> None:
        log.ensure_topic(TopicSpec("ns.u", unique_ids=True))
        append(log, "ns.u", new_records(["a", "b"]))
        other = open_log()

        result = other.commit(
            Commit(
                appends=[
                    Append("ns.u", new_records(["b", "c", "c", "a", "d"])),
                    Append("ns.u", new_records(["d", "e"])),
                ]
            )
        )

        back = read_all(log, "ns.u")
        assert [r.id for r in back] == list("abcde")
        assert (result.first_offsets, result.duplicates) == ({"ns.u": back[2].offset}, {"ns.u": 4})

    def test_ids_become_unique_from_when_the_topic_says_so(self, log: TopicLog) -> None:
        append(log, "ns.a", new_records(["a", "a", "b"]))
        log.ensure_topic(TopicSpec("ns.a", unique_ids=True))

        assert log.commit(Commit(appends=[Append("ns.a", new_records("abc"))])).duplicates == {"ns.a": 2}
