"""Commits: all or nothing, versions, leases, group commit, a full disk."""

import threading

import pytest

from headrace.foundation.errors import ConflictError, DiskFullError, FencedError, NotFoundError
from headrace.log.topic_log import Append, Commit, GroupOffset, Lease, StateKey, TopicLog
from headrace.testing.builders import append, new_records, read_all
from headrace.testing.log_conformance.children import in_threads
from headrace.testing.log_conformance.place import LogPlace, OpenLog


class CommitConformance(LogPlace):
    def test_outputs_offsets_and_state_become_true_at_once_for_everybody(
        self, log: TopicLog, open_log: OpenLog
    ) -> None:
        key = StateKey("stage", "k")
        log.commit(
            Commit([Append("ns.a", new_records([1]))], [GroupOffset("g", "ns.a", 4, hold=2)], {key: b"v"}, {key: 0})
        )
        other = open_log()

        assert [r.id for r in other.read("ns.a", 0)] == ["r1"]
        assert other.offset("g", "ns.a") == 4
        assert other.groups("ns.a") == [GroupOffset("g", "ns.a", 4, hold=2)]
        assert {k: (e.value, e.version) for k, e in other.state("stage").items()} == {"k": (b"v", 1)}

    def test_a_commit_that_is_refused_writes_nothing(self, log: TopicLog) -> None:
        old = log.acquire_lease("train", "first")
        log.acquire_lease("train", "second")
        key, other = StateKey("s", "k"), StateKey("s", "other")
        log.commit(Commit(state={key: b"1"}))
        good = Append("ns.a", new_records([1]))
        refused = [
            (FencedError, Commit([good], state={other: b""}, lease=old)),
            (FencedError, Commit([good], lease=Lease("nobody", 1, "x"))),
            (ConflictError, Commit([good], state={other: b""}, expect={key: 0})),
            (ConflictError, Commit([good], state={other: b""}, expect={key: 1, other: 1})),
            (NotFoundError, Commit([good, Append("ns.none", new_records([1]))], state={other: b""})),
            (NotFoundError, Commit([good], [GroupOffset("g", "ns.a", 1), GroupOffset("g", "ns.none", 1)])),
        ]
        for error, commit in refused:
            with pytest.raises(error):
                log.commit(commit)

        assert log.topic("ns.a").end_offset == 0
        assert (log.offset("g", "ns.a"), log.groups("ns.a")) == (0, [])
        assert set(log.state("s")) == {"k"}

    def test_state_versions_grow_by_one_and_a_deleted_value_is_absent(self, log: TopicLog) -> None:
        key = StateKey("s", "p/1")
        for version in range(3):
            log.commit(Commit(state={key: bytes([version])}, expect={key: version}))
        log.commit(Commit(state={StateKey("s", "q"): b"", StateKey("other", "p/1"): b"x"}))

        assert {k: (e.value, e.version) for k, e in log.state("s", "p/").items()} == {"p/1": (b"\x02", 3)}
        log.commit(Commit(state={key: None}, expect={key: 3}))
        assert set(log.state("s")) == {"q"}
        log.commit(Commit(state={key: b"again"}, expect={key: 0}))
        assert log.state("s")["p/1"].value == b"again"

    def test_the_prefix_of_a_state_key_is_taken_literally(self, log: TopicLog) -> None:
        keys = ["a", "a%", "a_", "ab", "b", "a\U0010ffff", "a\U0010ffffz", "A"]
        log.commit(Commit(state={StateKey("s", key): b"" for key in keys}))

        assert list(log.state("s", "a")) == sorted(key for key in keys if key.startswith("a"))
        assert list(log.state("s", "a%")) == ["a%"]

    def test_whoever_takes_a_role_over_fences_the_holder_before(self, log: TopicLog, open_log: OpenLog) -> None:
        first = log.acquire_lease("train", "one")
        log.commit(Commit([Append("ns.a", new_records([1]))], lease=first))
        second = open_log().acquire_lease("train", "two")

        assert (first.epoch, second.epoch) == (1, 2)
        with pytest.raises(FencedError, match=r"one lost the role 'train' of epoch 1: two holds it since epoch 2"):
            log.commit(Commit([Append("ns.a", new_records([2]))], lease=first))
        log.commit(Commit([Append("ns.a", new_records([3]))], lease=second))
        log.acquire_lease("label", "one")
        assert [r.id for r in log.read("ns.a", 0)] == ["r1", "r3"]

    def test_concurrent_commits_of_one_process_succeed_or_fail_each_alone(self, log: TopicLog) -> None:
        key = StateKey("s", "never")
        start = threading.Barrier(8)
        refused: list[int] = []

        def write(writer: int) -> None:
            start.wait()
            for turn in range(20):
                bad = (writer + turn) % 4 == 0
                records = new_records([f"{writer}/{turn}/{n}" for n in range(3)])
                try:
                    first = log.commit(Commit([Append("ns.a", records)], expect={key: int(bad)})).first_offsets["ns.a"]
                    assert [r.id for r in log.read("ns.a", first, max_records=3)] == [r.id for r in records]
                except ConflictError:
                    refused.append(writer)

        in_threads(write, 8)

        ids = [record.id for record in read_all(log, "ns.a")]
        assert len(refused) == 8 * 5
        assert len(set(ids)) == len(ids) == 8 * 15 * 3
        assert all(
            len({record_id.rpartition("/")[0] for record_id in ids[n : n + 3]}) == 1 for n in range(0, len(ids), 3)
        )
        for writer in range(8):
            turns = [int(i.split("/")[1]) for i in ids if i.startswith(f"{writer}/")]
            assert turns == sorted(turns)

    def test_a_full_disk_refuses_the_commit_whole_and_takes_it_once_there_is_room(self, log: TopicLog) -> None:
        full = self.full_disk(log)
        if full is None:
            pytest.skip("this back end cannot be given a full disk")
        key = StateKey("s", "k")
        commit = Commit(
            [Append("ns.a", new_records(range(500), b"x" * 1_000))], [GroupOffset("g", "ns.a", 1)], {key: b""}
        )
        append(log, "ns.a", new_records(["before"]))
        with full:
            for _ in range(3):
                with pytest.raises(DiskFullError):
                    log.commit(commit)
            assert [record.id for record in read_all(log, "ns.a")] == ["before"]
            assert (log.offset("g", "ns.a"), log.state("s")) == (0, {})

        assert log.commit(commit).first_offsets == {"ns.a": 1}
        assert (log.topic("ns.a").end_offset, log.offset("g", "ns.a"), set(log.state("s"))) == (501, 1, {"k"})
