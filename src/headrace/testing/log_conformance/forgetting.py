"""What a log can forget: topics, the records of a reset, replaced records, single records."""

from pathlib import Path

import pytest

from headrace.foundation.errors import FencedError, FinalError, NotFoundError
from headrace.log.record import NewRecord, Record
from headrace.log.redaction import REDACTED_KIND, record_digest, redacted_id
from headrace.log.topic_log import NOTHING_DELETED, Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.testing.builders import append, new_record, new_records, read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.log_conformance.place import LogPlace, OpenLog


def keyed(keys: str, first: int = 0) -> list[NewRecord]:
    """One record per letter: the letter is its key, a capital one is a tombstone, a dot has no key."""
    return [
        new_record(
            f"{letter}{number}",
            b"" if letter.isupper() else f"{letter}{number}".encode(),
            key="" if letter == "." else letter.lower(),
        )
        for number, letter in enumerate(keys, first)
    ]


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def newest(records: list[Record]) -> dict[str, str]:
    """The newest id of each key, unless that is a tombstone."""
    found = {record.key: record for record in records if record.key}
    return {key: record.id for key, record in found.items() if record.value}


class DeletingConformance(LogPlace):
    def test_a_deleted_topic_is_gone_with_its_records_ids_and_offsets_and_comes_again_empty(
        self, log: TopicLog, open_log: OpenLog
    ) -> None:
        spec = TopicSpec("ns.gone", unique_ids=True, retention_ms=1_000)
        other = open_log()
        log.ensure_topic(spec)
        append(log, "ns.gone", new_records(range(5), b"1234"))
        append(log, "ns.a", new_records(range(2)))
        log.commit(Commit(offsets=[GroupOffset("g", "ns.gone", 3), GroupOffset("g", "ns.a", 2)]))
        assert len(read_all(other, "ns.gone")) == 5

        deleted = log.delete_topic("ns.gone")

        assert (deleted.records, deleted.bytes) in ((5, 20), (None, None))
        assert log.delete_topic("ns.gone") == NOTHING_DELETED
        for one in (log, other):
            with pytest.raises(NotFoundError):
                one.read("ns.gone", 0)
            assert [info.spec.name for info in one.topics()] == ["ns.a"]
            assert one.groups() == [GroupOffset("g", "ns.a", 2)]
            assert one.find("ns.a", "r1") is not None
        other.ensure_topic(spec)
        assert other.commit(Commit([Append("ns.gone", new_records([1, 9]))])).duplicates == {"ns.gone": 0}
        for one in (log, other):
            assert ids(read_all(one, "ns.gone")) == ["r1", "r9"]
            assert one.read("ns.gone", 0)[0].offset == 0
            assert one.offset("g", "ns.gone") == 0
            assert ids(read_all(one, "ns.a")) == ["r0", "r1"]

    def test_a_writer_under_a_lease_goes_on_in_a_topic_that_was_deleted_and_made_again(
        self, log: TopicLog, open_log: OpenLog
    ) -> None:
        other = open_log()
        lease = log.acquire_lease("role", "me")
        for turn in range(3):
            log.ensure_topic(TopicSpec("ns.again"))
            log.commit(Commit([Append("ns.again", new_records([f"{turn}/{n}" for n in range(3)]))], lease=lease))
            assert ids(read_all(other, "ns.again")) == [f"{turn}/{n}" for n in range(3)]
            other.delete_topic("ns.again")

    def test_a_reader_makes_a_topic_that_is_missing_and_leaves_an_existing_one_as_it_is_kept(
        self, log: TopicLog, open_log: OpenLog
    ) -> None:
        spec = TopicSpec("ns.kept", retention_ms=5_000, unique_ids=True)
        other = open_log()
        other.ensure_exists("ns.kept")
        assert log.topic("ns.kept").spec == TopicSpec("ns.kept")
        log.ensure_topic(spec)
        other.ensure_exists("ns.kept")

        assert other.topic("ns.kept").spec == log.topic("ns.kept").spec == spec

    def test_what_a_deleted_topic_took_is_given_back_to_the_disk(self, log: TopicLog, state: Path) -> None:
        empty = self.disk_usage(state)
        if empty is None:
            pytest.skip("this back end does not know what it takes on disk")
        log.ensure_topic(TopicSpec("ns.large", unique_ids=True))
        for start in range(0, 10_000, 2_000):
            append(log, "ns.large", new_records(range(start, start + 2_000), bytes(1_000)))
        full = self.disk_usage(state)

        assert log.delete_topic("ns.large").bytes == 10_000_000

        after = self.disk_usage(state)
        assert full is not None
        assert after is not None
        assert after < empty + 500_000 < 10_000_000 < full

    def test_groups_of_all_topics_are_listed_and_forgotten_by_name(self, log: TopicLog) -> None:
        log.ensure_topic(TopicSpec("ns.b"))
        assert log.groups() == []
        moves = [GroupOffset("one", "ns.a", 1), GroupOffset("one", "ns.b", 2, hold=1), GroupOffset("two", "ns.b", 3)]
        log.commit(Commit(offsets=moves))

        assert log.groups() == moves
        assert log.groups("ns.b") == moves[1:]
        log.forget_group("one")
        assert log.groups() == moves[2:]


class ResettingConformance(LogPlace):
    def test_a_reset_is_one_commit_outputs_emptied_offsets_put_back_state_cleared(
        self, log: TopicLog, open_log: OpenLog
    ) -> None:
        other = open_log()
        log.ensure_topic(TopicSpec("ns.out", unique_ids=True))
        append(log, "ns.a", new_records(range(9)))
        lease = log.acquire_lease("stage", "old")
        keys = [StateKey("stage", name) for name in "abc"]
        log.commit(
            Commit(
                [Append("ns.out", new_records(["x", "y"]))],
                [GroupOffset("stage", "ns.a", 9, hold=7), GroupOffset("next", "ns.out", 2)],
                dict.fromkeys(keys, b"1"),
                lease=lease,
            )
        )
        log.commit(Commit(state={keys[1]: b"2", StateKey("other", "a"): b"kept"}))
        assert ids(read_all(other, "ns.out")) == ["x", "y"]
        end = log.topic("ns.out").end_offset
        reset = Commit(
            [Append("ns.out", new_records(["z"]))],
            [GroupOffset("stage", "ns.a", 2, hold=1)],
            {keys[1]: b"first again"},
            lease=lease,
            truncate=["ns.out"],
            clear=["stage"],
        )
        log.acquire_lease("stage", "new")
        with pytest.raises(FencedError):
            log.commit(reset)
        assert ids(read_all(other, "ns.out")) == ["x", "y"]

        other.commit(Commit(reset.appends, reset.offsets, reset.state, truncate=reset.truncate, clear=reset.clear))

        for one in (log, other, open_log()):
            found = read_all(one, "ns.out")
            assert ids(found) == ["z"]
            assert found[0].offset >= end
            assert one.topic("ns.out").start_offset >= end
            assert (one.offset("stage", "ns.a"), one.offset("next", "ns.out")) == (2, 2)
            assert one.groups("ns.a") == [GroupOffset("stage", "ns.a", 2, hold=1)]
            assert {key: (entry.value, entry.version) for key, entry in one.state("stage").items()} == {
                "b": (b"first again", 1)
            }
            assert set(one.state("other")) == {"a"}
            assert one.find("ns.out", "x") is None
        assert log.commit(Commit([Append("ns.out", new_records(["x", "z"]))])).duplicates == {"ns.out": 1}
        assert ids(read_all(other, "ns.out")) == ["z", "x"]

    def test_a_truncated_topic_stays_empty_for_readers_at_any_offset_and_groups_keep_their_places(
        self, log: TopicLog, open_log: OpenLog
    ) -> None:
        other = open_log()
        log.ensure_topic(TopicSpec("ns.p", partitions=2))
        for partition in (0, 1):
            append(log, "ns.p", new_records(range(5)), partition=partition)
        places = [record.offset for record in read_all(other, "ns.p", partition=1)]
        log.commit(Commit(offsets=[GroupOffset("g", "ns.p", places[-1] + 1, partition=1)]))
        log.commit(Commit(truncate=["ns.p"]))

        for one in (log, other):
            for partition in (0, 1):
                for offset in (0, *places):
                    assert one.read("ns.p", offset, partition=partition) == []
                    assert one.read("ns.p", offset, max_records=1, partition=partition) == []
            assert one.topic("ns.p").start_offset == one.topic("ns.p").end_offset > places[-1]
        assert append(log, "ns.p", new_records([5]), partition=1) >= other.offset("g", "ns.p", 1)
        with pytest.raises(NotFoundError, match=r"ns\.q"):
            log.commit(Commit([Append("ns.a", new_records([1]))], truncate=["ns.q"]))
        assert log.read("ns.a", 0) == []

    def test_an_owner_whose_state_is_cleared_may_compare_with_absence_afterwards(self, log: TopicLog) -> None:
        key = StateKey("o", "k")
        log.commit(Commit(state={key: b"1"}))
        log.commit(Commit(clear=["o", "nobody"]))
        log.commit(Commit(state={key: b"2"}, expect={key: 0}))

        assert {name: (entry.value, entry.version) for name, entry in log.state("o").items()} == {"k": (b"2", 1)}


class CompactionConformance(LogPlace):
    def test_a_new_reader_finds_the_newest_record_of_every_key_however_old(
        self, log: TopicLog, open_log: OpenLog, clock: VirtualClock
    ) -> None:
        log.ensure_topic(TopicSpec("ns.docs", retention_ms=1_000, compacted=True, unique_ids=True))
        append(log, "ns.docs", keyed("aba.cB"))
        clock.advance(10)
        assert log.trim(clock.now_ms()).records >= 1
        before = read_all(log, "ns.docs")
        append(log, "ns.docs", keyed("d.a", 6))
        clock.advance(10)
        append(log, "ns.docs", keyed("ce", 9))
        log.trim(clock.now_ms())

        for one in (log, open_log(clock)):
            found = read_all(one, "ns.docs")
            assert newest(before) == {"a": "a2", "c": "c4"}
            assert newest(found) == {"a": "a8", "c": "c9", "d": "d6", "e": "e10"}
            assert {record.id: record.value for record in found if record.id in ("a8", "d6")} == {
                "a8": b"a8", "d6": b"d6",
            }  # fmt: skip
            assert [record.offset for record in found] == sorted({record.offset for record in found})
            assert not any(record.id.startswith(".") for record in found)
            stays = [record for record in found if record.id in newest(found).values()]
            for record in stays:  # what is not the newest of its key may go at any moment
                assert one.read("ns.docs", record.offset)[0] == record
                assert one.read("ns.docs", record.offset, max_records=1) == [record]
                assert one.find("ns.docs", record.id) == record
            assert one.find("ns.docs", ".3") is None
            assert found[0].offset <= one.topic("ns.docs").start_offset <= stays[0].offset

    def test_compaction_never_touches_what_a_group_may_still_read_or_what_is_young(
        self, log: TopicLog, clock: VirtualClock
    ) -> None:
        log.ensure_topic(TopicSpec("ns.docs", retention_ms=1_000, compacted=True))
        append(log, "ns.docs", keyed("aa.a"))
        places = [record.offset for record in read_all(log, "ns.docs")]
        log.commit(Commit(offsets=[GroupOffset("g", "ns.docs", places[3], hold=places[1])]))
        clock.advance(0.5)
        assert log.trim(clock.now_ms()).records == 0
        clock.advance(10)

        log.trim(clock.now_ms())

        assert ids(read_all(log, "ns.docs"))[-3:] == ["a1", ".2", "a3"]
        log.forget_group("g")
        log.trim(clock.now_ms())
        assert newest(read_all(log, "ns.docs")) == {"a": "a3"}

    def test_a_topic_becomes_compacted_and_plain_again_as_it_is_declared(
        self, log: TopicLog, clock: VirtualClock
    ) -> None:
        log.ensure_topic(TopicSpec("ns.docs"))
        append(log, "ns.docs", keyed("ab.b"))
        log.ensure_topic(TopicSpec("ns.docs", retention_ms=1_000, compacted=True))
        clock.advance(10)
        log.trim(clock.now_ms())
        assert newest(read_all(log, "ns.docs")) == {"a": "a0", "b": "b3"}
        append(log, "ns.docs", keyed("c", 4))
        log.ensure_topic(TopicSpec("ns.docs", retention_ms=1_000))
        clock.advance(10)

        log.trim(clock.now_ms())

        assert read_all(log, "ns.docs") == []
        append(log, "ns.docs", keyed("d", 5))
        assert ids(read_all(log, "ns.docs")) == ["d5"]

    def test_a_compacted_topic_can_be_truncated_and_deleted(self, log: TopicLog, clock: VirtualClock) -> None:
        log.ensure_topic(TopicSpec("ns.docs", retention_ms=1_000, compacted=True))
        append(log, "ns.docs", keyed("ab"))
        clock.advance(10)
        log.trim(clock.now_ms())
        log.commit(Commit(truncate=["ns.docs"]))
        assert read_all(log, "ns.docs") == []
        append(log, "ns.docs", keyed("a", 2))
        clock.advance(10)
        log.trim(clock.now_ms())
        assert ids(read_all(log, "ns.docs")) == ["a2"]

        log.delete_topic("ns.docs")
        log.ensure_topic(TopicSpec("ns.docs", retention_ms=1_000, compacted=True))

        assert read_all(log, "ns.docs") == []
        append(log, "ns.docs", keyed("c", 3))
        assert ids(read_all(log, "ns.docs")) == ["c3"]


class RedactionConformance(LogPlace):
    def test_a_redacted_record_keeps_its_place_and_says_nothing_any_more(
        self, log: TopicLog, open_log: OpenLog
    ) -> None:
        if not log.capabilities.redacts:
            pytest.skip("this log cannot redact; it says so, as the next test shows")
        other = open_log()
        log.ensure_topic(TopicSpec("ns.u", unique_ids=True))
        append(log, "ns.a", [new_record("x", b"v1", key="k", origin='{"o":1}'), *new_records(["y", "x"], b"four")])
        append(log, "ns.u", new_records(["x", "z"]))
        before = {name: read_all(log, name) for name in ("ns.a", "ns.u")}

        report = other.redact({"ns.a": ["x", "none"], "ns.u": {"x"}})

        places = [("ns.a", 0), ("ns.a", 2), ("ns.u", 0)]
        assert [(one.topic, one.offset) for one in report.records] == places
        for one, (name, place) in zip(report.records, places, strict=True):
            was, now = before[name][place], read_all(log, name)[place]
            assert now == Record(
                was.offset, redacted_id("x"), REDACTED_KIND, b"", was.event_time, "", "", was.ingested_at
            )
            assert (one.before, one.after) == (record_digest(was), record_digest(now))
        assert read_all(log, "ns.a")[1] == before["ns.a"][1]
        assert log.topic("ns.a").bytes == 4
        for name in ("ns.a", "ns.u"):
            assert log.find(name, "x") is None
            assert log.find(name, redacted_id("x")) is not None
        assert log.commit(Commit([Append("ns.u", new_records(["x", "z", "w"]))])).duplicates == {"ns.u": 2}
        assert other.redact({"ns.a": ["x"]}).records == ()

    def test_a_log_that_cannot_redact_says_why_and_what_works_instead(self, log: TopicLog) -> None:
        if log.capabilities.redacts:
            pytest.skip("this log can redact")
        append(log, "ns.a", new_records(["x"]))

        with pytest.raises(FinalError, match=r"cannot .* — .*retention"):
            log.redact({"ns.a": ["x"]})
        assert ids(read_all(log, "ns.a")) == ["x"]
