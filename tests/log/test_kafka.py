"""The log on Kafka: the port's conformance on a real broker, and what is Kafka's own."""

import hashlib
import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from headrace.foundation.errors import (
    ConflictError,
    FencedError,
    InvalidDeclarationError,
    NotFoundError,
    UnavailableError,
)
from headrace.log.kafka import open_log
from headrace.log.kafka.options import read_options
from headrace.log.kafka.wire import escaped
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.testing.builders import append, new_record, new_records, read_all
from headrace.testing.log_conformance import LogConformance


def prefix_of(state: Path) -> str:
    """A place of its own on the broker for each test."""
    return f"t{hashlib.blake2b(str(state).encode(), digest_size=6).hexdigest()}."


class TestKafkaConformance(LogConformance):
    technology = "kafka"
    sequences = 4
    address = ""

    @pytest.fixture(autouse=True)
    def broker(self, kafka_address: str) -> None:
        type(self).address = kafka_address

    def options(self, state: Path) -> dict[str, str]:
        return {"kafka": self.address, "kafka_prefix": prefix_of(state)}


@pytest.fixture
def options(kafka_address: str, tmp_path: Path) -> dict[str, str]:
    return {"kafka": kafka_address, "kafka_prefix": prefix_of(tmp_path)}


@pytest.fixture
def log(options: dict[str, str], tmp_path: Path) -> Generator[TopicLog]:
    with closing(open_log(tmp_path, options=options)) as opened:
        opened.ensure_topic(TopicSpec("ns.a"))
        yield opened


def reader(options: dict[str, str]) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": options["kafka"], "group.id": "test", "auto.offset.reset": "earliest",
            "isolation.level": "read_committed", "enable.auto.commit": False,
        }
    )  # fmt: skip


def test_another_reader_sees_key_event_time_kind_id_and_origin_where_kafka_has_a_place_for_them(
    log: TopicLog, options: dict[str, str]
) -> None:
    record = new_record("r1", b'{"a":1}', key="k", origin='{"source":"s"}', event_time=1_700_000_000_123)
    append(log, "ns.a", [record])

    with closing(reader(options)) as consumer:
        consumer.assign([TopicPartition(f"{options['kafka_prefix']}ns.a", 0, 0)])
        message = consumer.poll(30)

    assert message is not None
    assert (message.key(), message.value()) == (b"k", b'{"a":1}')
    assert message.timestamp()[1] == 1_700_000_000_123
    headers = dict(message.headers() or [])
    assert (headers["id"], headers["kind"], headers["origin"]) == (b"r1", b"row/1", b'{"source":"s"}')


def test_a_transaction_that_hangs_hides_what_comes_behind_it_only_until_its_writer_is_replaced(
    log: TopicLog, options: dict[str, str], tmp_path: Path
) -> None:
    lease = log.acquire_lease("role", "first")
    log.commit(Commit([Append("ns.a", new_records([1]))], lease=lease))
    hung = Producer({"bootstrap.servers": options["kafka"], "transactional.id": f"{options['kafka_prefix']}role.role"})
    hung.init_transactions(30)
    hung.begin_transaction()
    hung.produce(f"{options['kafka_prefix']}ns.a", b"never")
    hung.flush(30)

    with closing(open_log(tmp_path, options=options)) as other:
        successor = other.acquire_lease("role", "second")
        other.commit(Commit([Append("ns.a", new_records([2]))], lease=successor))
        assert [record.id for record in read_all(other, "ns.a")] == ["r1", "r2"]
    with pytest.raises(FencedError, match="second holds it since epoch 2"):
        log.commit(Commit([Append("ns.a", new_records([3]))], lease=lease))


def test_a_holder_that_was_only_cut_off_takes_its_id_back_and_goes_on(log: TopicLog, options: dict[str, str]) -> None:
    lease = log.acquire_lease("role", "me")
    thief = Producer({"bootstrap.servers": options["kafka"], "transactional.id": f"{options['kafka_prefix']}role.role"})
    thief.init_transactions(30)

    log.commit(Commit([Append("ns.a", new_records([1]))], lease=lease))

    assert [record.id for record in read_all(log, "ns.a")] == ["r1"]


def test_of_two_who_compare_and_set_at_once_one_succeeds(
    log: TopicLog, options: dict[str, str], tmp_path: Path
) -> None:
    key, results = StateKey("o", "k"), list[str]()
    with closing(open_log(tmp_path, options=options)) as other:
        start = threading.Barrier(2)

        def write(name: str, into: TopicLog) -> None:
            for version in range(10):
                start.wait(60)
                try:
                    into.commit(
                        Commit([Append("ns.a", new_records([f"{name}{version}"]))], (), {key: b""}, {key: version})
                    )
                except ConflictError:
                    continue
                results.append(f"{name}{version}")

        threads = [threading.Thread(target=write, args=pair) for pair in (("a", log), ("b", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)

    assert sorted(one[1:] for one in results) == [str(version) for version in range(10)]
    assert [record.id for record in read_all(log, "ns.a")] == results
    assert log.state("o")["k"].version == 10


def test_two_who_write_an_owners_state_in_turn_see_the_same_state(
    log: TopicLog, options: dict[str, str], tmp_path: Path
) -> None:
    with closing(open_log(tmp_path, options=options)) as other:
        expected: dict[str, tuple[bytes, int]] = {}
        for number, who in enumerate("aaabbabaab"):
            key, value = f"k{number % 3}", b"%d" % number if number % 5 else None
            (log if who == "a" else other).commit(Commit(state={StateKey("o", key): value}))
            if value is None:
                expected.pop(key, None)
            else:
                expected[key] = value, expected[key][1] + 1 if key in expected else 1
            for one in (log, other) if number % 2 else (other,):
                assert {name: (entry.value, entry.version) for name, entry in one.state("o").items()} == expected


def test_what_another_transaction_gave_up_on_an_owners_state_is_in_nobodys_way(
    log: TopicLog, options: dict[str, str]
) -> None:
    key = StateKey("o", "k")
    log.commit(Commit(state={key: b"1"}))
    stranger = Producer({"bootstrap.servers": options["kafka"], "transactional.id": f"{options['kafka_prefix']}other"})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    stranger.produce(f"{options['kafka_prefix']}_state.o", b"never", b"k", headers=[("version", b"9")])
    stranger.flush(30)
    stranger.abort_transaction(30)

    for value in (b"2", b"3"):
        log.commit(Commit(state={key: value}))

    assert {name: (entry.value, entry.version) for name, entry in log.state("o").items()} == {"k": (b"3", 3)}


def test_a_topic_that_has_more_partitions_than_declared_is_refused_and_one_with_fewer_grows(log: TopicLog) -> None:
    log.ensure_topic(TopicSpec("ns.p", partitions=2))
    with pytest.raises(InvalidDeclarationError, match="has 2 partitions, but 1 are declared"):
        log.ensure_topic(TopicSpec("ns.p", partitions=1))
    log.ensure_topic(TopicSpec("ns.p", partitions=3))
    append(log, "ns.p", new_records([1]), partition=2)

    assert [record.id for record in log.read("ns.p", 0, partition=2)] == ["r1"]


def test_two_prefixes_on_one_broker_do_not_see_each_other(
    log: TopicLog, options: dict[str, str], tmp_path: Path
) -> None:
    append(log, "ns.a", new_records([1]))
    with closing(open_log(tmp_path, options={**options, "kafka_prefix": f"other{options['kafka_prefix']}"})) as other:
        assert other.topics() == []
        with pytest.raises(NotFoundError):
            other.read("ns.a", 0)


def test_a_record_of_20_mb_goes_through(log: TopicLog) -> None:
    append(log, "ns.a", [new_record("large", bytes(20 << 20))])

    assert len(log.read("ns.a", 0)[0].value) == 20 << 20


def test_a_broker_that_is_down_is_said_to_be_unavailable_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1: .*Check that the broker is running"):
        open_log(tmp_path, options={"kafka": "127.0.0.1:1", "connect_seconds": "1"})


def test_options_that_would_break_the_promise_are_refused() -> None:
    for name in ("isolation.level", "transactional.id", "enable.auto.commit"):
        with pytest.raises(InvalidDeclarationError, match=f"Headrace sets {name} itself"):
            read_options({name: "x"})


def test_credentials_reach_a_java_client_and_no_repr() -> None:
    read = read_options(
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "u",
            "sasl.password": 'p"\\',
        }
    )

    assert "p" + '"' not in repr(read)
    assert read.java()["sasl.jaas.config"] == (
        'org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p\\"\\\\";'
    )
    assert read.java()["security.protocol"] == "SASL_SSL"


def test_names_that_kafka_does_not_take_are_escaped_and_stay_apart() -> None:
    names = ["train/default.desk", "train_default.desk", "train_2f_default.desk", "ä"]

    assert len({escaped(name) for name in names}) == len(names)
    assert escaped("train/default.desk") == "train_2f_default.desk"


def test_offsets_a_group_never_committed_are_zero_and_a_forgotten_group_is_gone(log: TopicLog) -> None:
    assert log.offset("g", "ns.a") == 0
    log.commit(Commit(offsets=[GroupOffset("g", "ns.a", 7)]))
    assert log.offset("g", "ns.a") == 7
    log.forget_group("g")
    log.forget_group("g")

    assert (log.offset("g", "ns.a"), log.groups("ns.a")) == (0, [])


def test_single_records_are_found_here_and_there_and_whatever_comes_later_too(log: TopicLog) -> None:
    places: list[int] = []
    for part in range(6):
        append(log, "ns.a", new_records(range(part * 300, part * 300 + 300)))
    places = [record.offset for record in read_all(log, "ns.a")]
    for number in (1799, 0, 900, 901, 5, 1400, 0):
        assert [record.id for record in log.read("ns.a", places[number], max_records=1)] == [f"r{number}"]
    append(log, "ns.a", new_records(["late"]))

    assert [record.id for record in log.read("ns.a", places[-1] + 1, max_records=1)] == ["late"]
