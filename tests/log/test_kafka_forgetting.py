"""What Kafka's log promises about forgetting beyond the port: kills in between, arrival, ids that do not fill the memory."""

import tracemalloc
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from headrace.foundation.errors import UnavailableError
from headrace.log.kafka import identities, open_log
from headrace.log.kafka.broker import Broker
from headrace.log.kafka.topic_log import KafkaTopicLog
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicSpec
from headrace.testing.builders import append, new_record, new_records, read_all
from headrace.testing.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def options(kafka_address: str) -> dict[str, str]:
    return {"kafka": kafka_address, "kafka_prefix": f"f{uuid4().hex[:8]}."}


@pytest.fixture
def log(options: dict[str, str], tmp_path: Path, clock: VirtualClock) -> Generator[KafkaTopicLog]:
    with closing(open_log(tmp_path, options=options, clock=clock)) as opened:
        assert isinstance(opened, KafkaTopicLog)
        yield opened


def test_a_truncation_whose_records_could_not_be_deleted_holds_for_every_reader_and_is_finished_later(
    log: KafkaTopicLog, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{options['kafka_prefix']}ns.a", 0

    def away(*_: object) -> None:
        raise UnavailableError("the broker is away")

    with closing(open_log(tmp_path, options=options)) as other:
        append(log, "ns.a", new_records(["old"]))
        assert [one.id for one in read_all(other, "ns.a")] == ["old"]
        with monkeypatch.context() as patched:
            patched.setattr(Broker, "delete_before", away)
            log.commit(Commit([Append("ns.a", new_records(["new"]))], truncate=["ns.a"]))
            assert [[one.id for one in read_all(each, "ns.a")] for each in (log, other)] == [["new"], ["new"]]
            assert log._broker.starts([place])[place] == 0
    open_log(tmp_path, options=options).close()

    assert log._broker.starts([place])[place] == read_all(log, "ns.a")[0].offset


def test_retention_goes_by_arrival_in_the_topic_and_not_by_when_the_first_ancestor_came(
    log: KafkaTopicLog, clock: VirtualClock
) -> None:
    log.ensure_topic(TopicSpec("ns.rows", retention_ms=1_000))
    append(log, "ns.rows", [new_record("derived", ingested_at=5), new_record("own")])
    clock.advance(0.9)
    assert log.trim(clock.now_ms()).records == 0
    assert [one.ingested_at for one in read_all(log, "ns.rows")] == [5, clock.now_ms() - 900]
    clock.advance(0.2)

    assert log.trim(clock.now_ms()).records == 2


def test_a_retention_that_is_changed_acts_at_the_next_trim_of_any_process(
    log: KafkaTopicLog, options: dict[str, str], tmp_path: Path, clock: VirtualClock
) -> None:
    log.ensure_topic(TopicSpec("ns.rows", retention_ms=10**9))
    append(log, "ns.rows", new_records([1]))
    clock.advance(10)
    assert log.trim(clock.now_ms()).records == 0
    with closing(open_log(tmp_path, options=options)) as other:
        other.ensure_topic(TopicSpec("ns.rows", retention_ms=1_000))

    assert log.trim(clock.now_ms()).records == 1


def test_unique_ids_are_kept_on_disk_and_not_in_memory(log: KafkaTopicLog) -> None:
    log.ensure_topic(TopicSpec("ns.u", unique_ids=True))
    append(log, "ns.u", new_records(range(10)))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for start in range(10, 20_000, 4_000):
        append(log, "ns.u", [new_record(f"{number}/{'x' * 200}") for number in range(start, start + 4_000)])
    log.commit(Commit([Append("ns.u", new_records([1]))]))  # everything that was written is followed
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert grown < 2_000_000 < 20_000 * 200
    result = log.commit(Commit([Append("ns.u", [new_record(f"10/{'x' * 200}"), new_record("fresh")])]))
    assert result.duplicates == {"ns.u": 1}


def test_ids_of_records_that_retention_dropped_are_forgotten(
    log: KafkaTopicLog, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "_FORGET_EVERY", 5)
    log.ensure_topic(TopicSpec("ns.u", unique_ids=True, retention_ms=1_000))
    append(log, "ns.u", new_records(range(5)))
    clock.advance(10)
    log.trim(clock.now_ms())
    append(log, "ns.u", new_records(range(10, 20)))

    assert log.find("ns.u", "r1") is None
    result = log.commit(Commit([Append("ns.u", new_records([1, 11]))]))
    assert result.duplicates == {"ns.u": 1}


def test_a_record_of_any_partition_is_found_and_a_dropped_one_is_not(log: KafkaTopicLog, clock: VirtualClock) -> None:
    log.ensure_topic(TopicSpec("ns.p", partitions=2, retention_ms=1_000))
    append(log, "ns.p", new_records(["a", "b"]), partition=1)
    clock.advance(10)
    append(log, "ns.p", new_records(["a"]), partition=0)
    found = log.find("ns.p", "b")
    assert found is not None
    log.trim(clock.now_ms())
    append(log, "ns.p", new_records(["c"]), partition=1)

    assert log.find("ns.p", "b") is None
    again = log.find("ns.p", "a")
    assert again == read_all(log, "ns.p")[0]


def test_a_copy_of_what_compaction_keeps_is_made_once_whatever_is_killed(
    log: KafkaTopicLog, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.ensure_topic(TopicSpec("ns.docs", retention_ms=1_000, compacted=True))
    append(log, "ns.docs", [new_record(name, name.encode(), key=name) for name in "abc"])
    clock.advance(10)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Broker, "delete_before", killed)
        with pytest.raises(KeyboardInterrupt):
            log.trim(clock.now_ms())
    assert [one.id for one in read_all(log, "ns.docs")] == ["a", "b", "c"]
    append(log, "ns.docs", [new_record("d", b"d", key="d")])
    clock.advance(10)
    log.trim(clock.now_ms())

    assert [one.id for one in read_all(log, "ns.docs")] == ["a", "b", "c", "d"]
    log.trim(clock.now_ms())
    assert [one.value for one in read_all(log, "ns.docs")] == [b"a", b"b", b"c", b"d"]


def test_a_reset_that_deletes_many_entries_of_one_owner_is_one_commit(log: KafkaTopicLog) -> None:
    keys = [StateKey("o", f"k{number}") for number in range(7)]
    log.ensure_topic(TopicSpec("ns.a"))
    log.commit(Commit(offsets=[GroupOffset("g", "ns.a", 3)], state=dict.fromkeys(keys, b"1")))

    log.commit(Commit(offsets=[GroupOffset("g", "ns.a", 0)], state=dict.fromkeys(keys)))

    assert (log.state("o"), log.offset("g", "ns.a")) == ({}, 0)
