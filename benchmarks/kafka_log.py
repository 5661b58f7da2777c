"""The log on Kafka: appends by size of batch and replay, beside a plain client of confluent_kafka that does the same.

    python benchmarks/kafka_log.py [--records 200000] [--value-bytes 1000] [--rounds 3] [--only headrace] [--profile]

A Kafka of this machine is started for it: one broker, one partition, one producer. Every batch is one transaction: the records with key,
time and four headers, the offset of a group, a value of the state, under a lease as a stage commits it. The plain client writes and reads
the same records in transactions, with the same compression and waits, and takes every field of what it reads. Both take turns, and the
best of the rounds counts. Values are JSON of figures drawn from a seed. Exit code 1: a target was missed.
"""

import argparse
import cProfile
import pstats
import random
import statistics
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from machine_cluster import Targets, own_cluster

from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, GroupOffset, Lease, StateKey, TopicLog, TopicSpec

APPENDS = {1_000: 40_000, 10_000: 100_000}
"""Records to a commit → records per second that are wanted."""
REPLAY = 200_000
HELD = 10_000
"""Different records; they are written again and again."""
INGESTED = 1_700_000_000_000


def records(value_bytes: int) -> list[NewRecord]:
    """Such as an exchange's trades: figures compress to about half."""
    draw = random.Random(0)
    found: list[NewRecord] = []
    for n in range(HELD):
        value = f'{{"trade_id":{n}'
        while len(value) < value_bytes - 1:
            value += f',"f{len(value)}":{draw.random() * 1000:.8f}'
        found.append(
            NewRecord(
                f"trades:{n}", "row/1", (value[: value_bytes - 1] + "}").encode(), INGESTED + n, "XRP/ETH",
                '{"source":"trades","position":"1"}', INGESTED + n,
            )
        )  # fmt: skip
    return found


def timed(work: Callable[[int], None], times: int) -> tuple[float, float]:
    """Seconds in all, and the median of one."""
    took: list[float] = []
    for turn in range(times):
        start = perf_counter()
        work(turn)
        took.append(perf_counter() - start)
    return sum(took), statistics.median(took)


class HeadraceLog:
    """The log, used as a stage uses it."""

    name = "headrace"

    def __init__(self, address: str, folder: Path) -> None:
        self._log: TopicLog = open_log(
            folder, technology="kafka", options={"kafka": address, "kafka_prefix": f"b{uuid.uuid4().hex[:8]}."}
        )
        self._log.ensure_topic(TopicSpec("input"))
        self._lease: Lease = self._log.acquire_lease("stage", "benchmark")

    def topic(self, name: str) -> None:
        self._log.ensure_topic(TopicSpec(name))

    def write(self, topic: str, batch: Sequence[NewRecord], turn: int) -> None:
        offsets = [GroupOffset("stage", "input", turn)]
        state: dict[StateKey, bytes | None] = {StateKey("stage", "watermark"): b"%d" % turn}
        self._log.commit(Commit([Append(topic, batch)], offsets, state, lease=self._lease))

    def read(self, topic: str) -> int:
        count = offset = 0
        while batch := self._log.read(topic, offset):
            offset = batch[-1].offset + 1
            count += len(batch)
        return count

    def close(self) -> None:
        self._log.close()


class PlainClient:
    """A transactional producer and a consumer of committed records, and nothing else."""

    name = "plain client"

    def __init__(self, address: str) -> None:
        self._prefix = f"p{uuid.uuid4().hex[:8]}."
        self._client = {"bootstrap.servers": address, "retry.backoff.ms": 1}
        self._producer = Producer(
            {
                **self._client, "transactional.id": f"{self._prefix}stage", "linger.ms": 0, "compression.type": "lz4",
                "batch.size": 1 << 20, "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1 << 20,
            }
        )  # fmt: skip
        self._producer.init_transactions()
        with closing(Consumer({**self._client, "group.id": f"{self._prefix}stage"})) as member:
            self._group = member.consumer_group_metadata()
        self._address = address
        self.topic("input")
        self.topic("state")

    def topic(self, name: str) -> None:
        admin = AdminClient({"bootstrap.servers": self._address})  # held until the topic is there
        made = admin.create_topics([NewTopic(self._prefix + name, 1, 1)])
        made[self._prefix + name].result(30)

    def write(self, topic: str, batch: Sequence[NewRecord], turn: int) -> None:
        produce, name = self._producer.produce, self._prefix + topic
        self._producer.begin_transaction()
        for one in batch:
            headers: list[tuple[str, str | bytes | None]] = [
                ("id", one.id.encode()), ("kind", one.kind.encode()), ("ingested_at", b"%d" % one.ingested_at),
                ("origin", one.origin.encode()),
            ]  # fmt: skip
            produce(name, one.value, one.key.encode(), 0, timestamp=one.event_time, headers=headers)
        produce(self._prefix + "state", b"%d" % turn, b"watermark", 0)
        offset = TopicPartition(self._prefix + "input", 0, turn)
        self._producer.send_offsets_to_transaction([offset], self._group)
        self._producer.commit_transaction()

    def read(self, topic: str) -> int:
        place = (self._prefix + topic, 0)
        consumer = Consumer(
            {
                **self._client, "group.id": f"{self._prefix}reader", "enable.auto.commit": False, "isolation.level": "read_committed",
                "fetch.message.max.bytes": 4 << 20, "queued.max.messages.kbytes": 32_768,
            }
        )  # fmt: skip
        count = 0
        with closing(consumer):
            _, end = consumer.get_watermark_offsets(TopicPartition(*place), 10)
            consumer.assign([TopicPartition(*place, 0)])
            reached = 0
            while reached < end - 1:  # behind the last record stands the mark of its transaction
                for message in consumer.consume(10_000, 1.0):
                    taken = (message.key(), message.value(), message.timestamp(), dict(message.headers() or ()))
                    reached = (message.offset() or 0) + 1
                    count += len(taken) == 4
        return count

    def close(self) -> None:
        self._producer.flush()


Contestant = HeadraceLog | PlainClient


def measure(one: Contestant, held: Sequence[NewRecord], total: int, place: int) -> dict[str, tuple[float, float]]:
    """By what was done: records per second, and ms of a commit."""
    found: dict[str, tuple[float, float]] = {}
    topic = ""
    for size in APPENDS:
        topic, batch = f"append.{size}.{place}", held[:size]
        one.topic(topic)
        one.write(topic, batch[:1], 0)  # the topic's leader is known
        took, median = timed(lambda turn, topic=topic, batch=batch: one.write(topic, batch, turn + 1), total // size)
        found[f"append, {size:,} per commit"] = (total // size * size / took, median * 1e3)
    start = perf_counter()
    count = one.read(topic)
    found["replay"] = (count / (perf_counter() - start), 0.0)
    return found


def profiled(one: Contestant, held: Sequence[NewRecord], total: int) -> None:
    """Where the time of a writer and of a reader goes, on standard error."""
    topic = f"profile.{uuid.uuid4().hex[:4]}"
    one.topic(topic)
    for name, work in (
        ("write", lambda: timed(lambda turn: one.write(topic, held, turn), total // HELD)),
        ("read", lambda: one.read(topic)),
    ):
        profile = cProfile.Profile()
        profile.runcall(work)
        print(f"--- {one.name}: {name}", file=sys.stderr)
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(18)


def best(rounds: Sequence[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    return {name: max(one[name] for one in rounds) for name in rounds[0]}


def report(found: dict[str, dict[str, tuple[float, float]]]) -> int:
    """Prints the table; the exit code."""
    targets = Targets()
    wanted = {**{f"append, {size:,} per commit": rate for size, rate in APPENDS.items()}, "replay": REPLAY}
    print("| | records/s | wanted | ms per commit | plain client, records/s | headrace ÷ plain |")
    print("| --- | --- | --- | --- | --- | --- |")
    ours, plain = found[HeadraceLog.name], found.get(PlainClient.name)
    for name, (rate, median) in ours.items():
        cell = targets.at_least(name, rate, wanted[name])
        other = f"{plain[name][0]:,.0f} | {rate / plain[name][0]:.2f}" if plain else "– | –"
        print(f"| {name} | {rate:,.0f} | {cell} | {f'{median:.1f}' if median else ''} | {other} |")
    return targets.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000, help="per measurement and round")
    parser.add_argument("--value-bytes", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=[HeadraceLog.name], help="without the plain client")
    parser.add_argument("--profile", action="store_true", help="then say where the time goes")
    options = parser.parse_args()
    total = max(HELD, options.records // HELD * HELD)
    held = records(options.value_bytes)
    with tempfile.TemporaryDirectory() as folder, own_cluster("kafka") as cluster:
        address = cluster.addresses.kafka
        print(f"{total:,} records of {options.value_bytes:,} bytes, the best of {options.rounds} rounds\n", flush=True)
        contestants: list[Contestant] = [HeadraceLog(address, Path(folder))]
        if options.only is None:
            contestants.append(PlainClient(address))
        rounds: dict[str, list[dict[str, tuple[float, float]]]] = {one.name: [] for one in contestants}
        for place in range(options.rounds):
            for one in contestants:
                rounds[one.name].append(measure(one, held, total, place))
        code = report({name: best(some) for name, some in rounds.items()})
        for one in contestants if options.profile else ():
            profiled(one, held, total)
        for one in contestants:
            one.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
