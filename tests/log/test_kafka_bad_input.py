"""What the world does to a log on Kafka: brokers that vanish, topics that somebody else deletes, cuts, fills or limits."""

import random
import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewPartitions

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import FinalError, InvalidDeclarationError, NotFoundError, UnavailableError
from headrace.log.kafka import broker, open_log
from headrace.log.topic_log import Append, Commit, GroupOffset, TopicLog, TopicSpec
from headrace.testing.builders import append, new_record, new_records, read_all
from headrace.testing.cluster import running, session_cluster

SECONDS = 30


@pytest.fixture
def prefix() -> str:
    return f"bad{uuid4().hex[:8]}."


@pytest.fixture
def log(kafka_address: str, prefix: str, tmp_path: Path) -> Generator[TopicLog]:
    with closing(open_log(tmp_path, options={"kafka": kafka_address, "kafka_prefix": prefix})) as opened:
        opened.ensure_topic(TopicSpec("ns.a"))
        yield opened


@pytest.fixture
def admin(kafka_address: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_address})


def ids(log: TopicLog) -> list[str]:
    return [record.id for record in read_all(log, "ns.a")]


def commit_at_last(log: TopicLog, commit: Commit) -> None:
    """Repeats the commit as a stage does: where the broker is away for longer than a request waits, nothing was written."""
    deadline = SYSTEM_CLOCK.monotonic() + 4 * SECONDS
    while True:
        try:
            log.commit(commit)
        except UnavailableError:
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise
        else:
            return


def test_a_writer_goes_on_after_a_kill_of_the_broker_and_nothing_is_lost_or_doubled(
    log: TopicLog, kafka_address: str
) -> None:
    log.ensure_topic(TopicSpec("ns.in"))
    lease = log.acquire_lease("role", "me")
    log.commit(Commit([Append("ns.a", new_records([1, 2]))], [GroupOffset("g", "ns.in", 2)], lease=lease))
    assert (ids(log), log.offset("g", "ns.in")) == (
        ["r1", "r2"],
        2,
    )  # a lone broker forgets a mark that it has not written yet
    with running(session_cluster("kafka"), ["broker"]) as cluster:
        assert cluster.addresses.kafka == kafka_address
        cluster.kill("broker")
        back = threading.Thread(target=cluster.start, args=("broker",))
        back.start()
        commit_at_last(log, Commit([Append("ns.a", new_records([3]))], [GroupOffset("g", "ns.in", 3)], lease=lease))
        back.join()
    log.commit(Commit([Append("ns.a", new_records([4]))], [GroupOffset("g", "ns.in", 4)], lease=lease))

    assert ids(log) == ["r1", "r2", "r3", "r4"]
    assert log.offset("g", "ns.in") == 4


def test_a_reader_below_the_first_record_that_is_kept_goes_on_there(
    log: TopicLog, admin: AdminClient, prefix: str
) -> None:
    for number in range(6):
        append(log, "ns.a", new_records([number]))
    places = [record.offset for record in read_all(log, "ns.a")]
    here = TopicPartition(f"{prefix}ns.a", 0, places[4])
    admin.delete_records([here])[here].result(SECONDS)

    assert [record.id for record in log.read("ns.a", 0)] == ["r4", "r5"]
    assert [record.id for record in log.read("ns.a", places[1], max_records=1)] == ["r4"]
    assert log.topic("ns.a").start_offset == places[4]


def test_a_topic_that_somebody_deleted_is_said_to_be_missing_with_the_next_step(
    log: TopicLog, admin: AdminClient, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_ELECTED_SECONDS", 0.5)
    append(log, "ns.a", new_records([1]))
    admin.delete_topics([f"{prefix}ns.a"])[f"{prefix}ns.a"].result(SECONDS)
    deadline = SYSTEM_CLOCK.monotonic() + SECONDS
    while f"{prefix}ns.a" in admin.list_topics(timeout=SECONDS).topics:  # the broker takes its time
        assert SYSTEM_CLOCK.monotonic() < deadline

    with pytest.raises(NotFoundError, match=r"Kafka has no such topic.* — .*start over under another kafka_prefix"):
        log.read("ns.a", 0)


def test_a_topic_that_somebody_gave_more_partitions_is_refused_with_both_numbers(
    log: TopicLog, admin: AdminClient, prefix: str, kafka_address: str, tmp_path: Path
) -> None:
    append(log, "ns.a", new_records([1]))
    admin.create_partitions([NewPartitions(f"{prefix}ns.a", 3)])[f"{prefix}ns.a"].result(SECONDS)

    assert ids(log) == ["r1"]
    other = open_log(tmp_path, options={"kafka": kafka_address, "kafka_prefix": prefix})
    with (
        closing(other),
        pytest.raises(InvalidDeclarationError, match=r"has 3 partitions, but 2 are decl.* — Declare 3 partitions or"),
    ):
        other.ensure_topic(TopicSpec("ns.a", partitions=2))


def test_a_record_of_more_than_the_log_can_hold_is_refused_and_the_log_goes_on(log: TopicLog) -> None:
    with pytest.raises(FinalError, match=r"of this size.* — Raise"):
        append(log, "ns.a", [new_record("large", bytes(65 << 20))])
    append(log, "ns.a", new_records([1]))

    assert ids(log) == ["r1"]


def test_a_record_that_a_topic_does_not_take_is_refused_with_all_of_its_commit_and_the_log_goes_on(
    log: TopicLog, admin: AdminClient, prefix: str
) -> None:
    changed = ConfigResource(
        ConfigResource.Type.TOPIC, f"{prefix}ns.a",
        incremental_configs=[ConfigEntry("max.message.bytes", "300000", incremental_operation=AlterConfigOpType.SET)],
    )  # fmt: skip
    (done,) = admin.incremental_alter_configs([changed]).values()
    done.result(SECONDS)
    large = new_record("large", random.Random(0).randbytes(400_000))
    with pytest.raises(FinalError, match="of this size"):
        append(log, "ns.a", [new_record("before"), large, new_record("behind")])
    append(log, "ns.a", new_records([1]))

    assert ids(log) == ["r1"]


def test_what_somebody_else_wrote_into_a_topic_of_the_log_is_read_as_it_is(
    log: TopicLog, kafka_address: str, prefix: str
) -> None:
    append(log, "ns.a", new_records([1]))
    stranger = Producer({"bootstrap.servers": kafka_address, "transactional.id": f"stranger-{prefix}"})
    stranger.init_transactions(SECONDS)
    stranger.begin_transaction()
    stranger.produce(f"{prefix}ns.a", b"not json")
    stranger.produce(f"{prefix}ns.a", None, key=b"\xff\xfe")
    stranger.produce(f"{prefix}ns.a", b"{}", headers=[("kind", b"row/1")])
    odd = [("id", None), ("kind", b"\xff"), ("ingested_at", b"soon"), ("origin", b""), ("event_time", b"late")]
    stranger.produce(f"{prefix}ns.a", b"{}", headers=odd)
    stranger.commit_transaction(SECONDS)
    append(log, "ns.a", new_records([2]))

    found = read_all(log, "ns.a")

    assert [(record.id, record.value) for record in found[1:-1]] == [
        ("", b"not json"), ("", b""), ("", b"{}"), ("", b"{}"),
    ]  # fmt: skip
    assert [found[0].id, found[-1].id] == ["r1", "r2"]
