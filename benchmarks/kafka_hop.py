"""A hop from stage to stage on Kafka: how long after a record's append upstream what a stage made of it is read downstream.

    python benchmarks/kafka_hop.py [--seconds 20] [--rate 1000] [--backoffs 1 100]

Three processes on one Kafka of this machine, each with a log of its own and a step as the stages have it. The first commits what is due,
1,000 records of 1 KB a second, with the pause that ingest makes between commits of few records. The second reads them, commits as many
with its offset, its state and its lease, and waits for the next commit where there is nothing to read. The third reads those. Time runs
from the first's call of `commit` to the third's `read` that gives the record: two commits and two reads. What a record waits at its
source while ingest pauses is not in it. First with the `retry.backoff.ms` that the log sets, then with the client's default, 100, then
without the pause; before them half a minute that does not count, because a new broker is slow. Exit code 1: the target of the first was
missed.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from time import monotonic, monotonic_ns, sleep

from machine_cluster import Targets, own_cluster

from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, GroupOffset, Lease, StateKey, TopicLog, TopicSpec
from headrace.stages.ingest.stage import FEW_ROWS

P50_MS = 15
WARM_SECONDS = 5.0
BROKER_SECONDS = 30.0
"""A new broker is slow until what it does often is compiled."""
WAIT_SECONDS = 0.2
"""As a role waits."""
VALUE_BYTES = 1_000
UPSTREAM, DOWNSTREAM = "upstream", "downstream"
Latencies = list[tuple[int, int, int]]
"""Of each record: when it was appended, read by the stage and read downstream, ns of one clock."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Place:
    """What each process opens its log with."""

    folder: Path
    options: Mapping[str, str]

    def open(self) -> TopicLog:
        log = open_log(self.folder, technology="kafka", options=self.options)
        for topic in ("input", UPSTREAM, DOWNSTREAM):
            log.ensure_topic(TopicSpec(topic))
        return log


def commit(log: TopicLog, lease: Lease, source: str, read: int, topic: str, values: list[bytes], first: int) -> None:
    """What a stage commits."""
    made = [
        NewRecord(f"{topic}:{first + n}", "row/1", value, 1_700_000_000_000 + first + n, "key", '{"source":"input"}')
        for n, value in enumerate(values)
    ]
    state: dict[StateKey, bytes | None] = {StateKey(lease.role, "counts"): b"%d" % read}
    log.commit(Commit([Append(topic, made)], [GroupOffset(lease.role, source, read)], state, lease=lease))


def run_stage(place: Place, ready: Event, stop: Event) -> None:
    """Reads upstream, commits downstream; adds the moment of its reading to the value."""
    with closing(place.open()) as log:
        lease = log.acquire_lease("stage", "benchmark")
        offset = written = 0
        ready.set()
        while not stop.is_set():
            records = log.read(UPSTREAM, offset)
            if not records:
                log.wait(WAIT_SECONDS)
                continue
            stamp = b" %d" % monotonic_ns()
            offset = records[-1].offset + 1
            values = [record.value.rstrip() + stamp for record in records]
            commit(log, lease, UPSTREAM, offset, DOWNSTREAM, [one.ljust(VALUE_BYTES) for one in values], written)
            written += len(records)


def run_reader(place: Place, ready: Event, stop: Event, found: "Queue[Latencies]") -> None:
    """Reads downstream, and tells of every record at the end."""
    seen: Latencies = []
    with closing(place.open()) as log:
        offset = 0
        ready.set()
        while not stop.is_set():
            records = log.read(DOWNSTREAM, offset)
            if not records:
                log.wait(WAIT_SECONDS)
                continue
            now = monotonic_ns()
            offset = records[-1].offset + 1
            for record in records:
                appended, read = record.value.split()
                seen.append((int(appended), int(read), now))
    found.put(seen)


def feed(place: Place, rate: int, seconds: float, *, pausing: bool) -> list[int]:
    """Commits what is due, again and again; how many records each commit held."""
    sizes: list[int] = []
    with closing(place.open()) as log:
        pause = log.capabilities.pause_seconds if pausing else 0.0
        lease = log.acquire_lease("source", "benchmark")
        written, started = 0, monotonic()
        while (elapsed := monotonic() - started) < seconds:
            due = int(elapsed * rate) - written
            if due < 1:
                sleep(1 / rate)
                continue
            began = monotonic()
            commit(log, lease, "input", written, UPSTREAM, [(b"%d" % monotonic_ns()).ljust(VALUE_BYTES)] * due, written)
            written += due
            sizes.append(due)
            if due < FEW_ROWS:
                sleep(max(0.0, began + pause - monotonic()))
    return sizes


def measure(address: str, backoff: int, rate: int, seconds: float, *, pausing: bool) -> tuple[Latencies, list[int]]:
    """Every record behind the warm-up, and the sizes of the commits upstream."""
    options = {"kafka": address, "kafka_prefix": f"hop{uuid.uuid4().hex[:6]}.", "retry.backoff.ms": str(backoff)}
    found: Queue[Latencies] = _SPAWN.Queue()
    stop, ready = _SPAWN.Event(), [_SPAWN.Event(), _SPAWN.Event()]
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), options)
        place.open().close()
        workers = [
            _SPAWN.Process(target=run_stage, args=(place, ready[0], stop), daemon=True),
            _SPAWN.Process(target=run_reader, args=(place, ready[1], stop, found), daemon=True),
        ]
        for worker in workers:
            worker.start()
        if not all(one.wait(60) for one in ready):
            sys.exit("the stage and the reader did not start within a minute")
        began = monotonic_ns()
        sizes = feed(place, rate, WARM_SECONDS + seconds, pausing=pausing)
        sleep(2)  # what is on its way arrives
        stop.set()
        seen = found.get(timeout=60)
        for worker in workers:
            worker.join(30)
    missing = sum(sizes) - len(seen)
    if missing:
        sys.exit(f"{missing} of {sum(sizes)} records did not arrive")
    return [one for one in seen if one[0] - began > WARM_SECONDS * 1e9], sizes


def milliseconds(seen: Latencies, start: int, end: int) -> list[float]:
    return [(one[end] - one[start]) / 1e6 for one in seen]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, behind five to warm up")
    parser.add_argument("--rate", type=int, default=1_000, help="records per second")
    parser.add_argument(
        "--backoffs", type=int, nargs="+", default=[1, 100], help="retry.backoff.ms; the first is the one wanted"
    )
    options = parser.parse_args()
    runs = [*((backoff, True) for backoff in options.backoffs), (options.backoffs[0], False)]
    targets = Targets()
    print(
        f"{options.rate:,} records/s of {VALUE_BYTES:,} bytes for {options.seconds:.0f} s; p50 wanted: at most {P50_MS} ms\n"
    )
    print(
        "| retry.backoff.ms | pause | p50 ms | p90 ms | p99 ms | most ms | p50 up to the stage's read | p50 from there | records per commit |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with own_cluster("kafka") as cluster:
        measure(cluster.addresses.kafka, options.backoffs[0], options.rate, BROKER_SECONDS, pausing=True)
        for place, (backoff, pausing) in enumerate(runs):
            seen, sizes = measure(cluster.addresses.kafka, backoff, options.rate, options.seconds, pausing=pausing)
            whole = milliseconds(seen, 0, 2)
            cuts = statistics.quantiles(whole, n=100)
            parts = [statistics.median(milliseconds(seen, *part)) for part in ((0, 1), (1, 2))]
            print(
                f"| {backoff} | {'yes' if pausing else 'no'} | {cuts[49]:.1f} | {cuts[89]:.1f} | {cuts[98]:.1f} | {max(whole):.0f} | {parts[0]:.1f} | {parts[1]:.1f} | "
                f"{statistics.mean(sizes):.0f} |",
                flush=True,
            )
            if not place:
                targets.at_most("p50", cuts[49], P50_MS)
    return targets.end()


if __name__ == "__main__":
    sys.exit(main())
