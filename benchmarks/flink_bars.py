"""The exchange's own one-minute bars out of its trades, by ingest → Kafka → a Flink job → canonical rows, undisturbed and disturbed.

    python benchmarks/flink_bars.py [--only ordered shuffled killed] [--seed 0]

The trades and the exchange's bars are the real ones of `../shared/data/market`; without them it is skipped. A Kafka and a Flink are
started for it. Each run has topics of its own and the query of `examples/market/bars.sql`. Behind the trades comes one of the year 2030, which
closes the last windows:

ordered   the trades in the exchange's order
shuffled  arrival moved by up to 4 s, trades of one millisecond together, 5 s allowed
killed    `kill -9` of TaskManager, JobManager and broker, one after the other, each while the job makes bars of a quarter of the trades

Every bar is compared with the exchange's, in all five columns as exact numbers, and the rows of the runs with each other: id, key, time and
value. Exit code 1: a bar is missing, too many or different, or rows of two runs differ.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep

from machine_cluster import MARKET, own_cluster, skip

from headrace.cluster import LocalCluster
from headrace.connectors.source import EventTime, SourceOptions
from headrace.control.stage_thread import ReopenedStage
from headrace.events import codec, topics
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import RetryableError
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage
from headrace.stages.stage import Stage
from headrace.stages.transform.job import TransformJobStage
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.streams.flink.engine import FlinkEngine
from headrace.testing.builders import read_all
from headrace.testing.cluster_kills import SERVERS, contents
from headrace.testing.resource_ids import connector_id, finetuner_id

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "market"
sys.path.insert(0, str(EXAMPLE))

from check_bars import COLUMNS, Bars, differences, read_bars  # noqa: E402  # pyright: ignore[reportMissingImports]

TRADES, BARS = MARKET / "trades-XRP_ETH.jsonl", MARKET / "candles-XRP_ETH-1m.csv"
SCHEMA = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("trade_id", "BIGINT"), Column("symbol", "STRING"),
        Column("price", "DECIMAL(38, 18)"), Column("amount", "DECIMAL(38, 18)"),
    )
)  # fmt: skip
OUT_OF_ORDERNESS_MS, SHUFFLED_MS = 5_000, 4_000
CHECKPOINT_MS = 1_000
PATIENCE_SECONDS = 180.0
"""For the bars of one piece."""
PIECES = 4
"""A run with kills gets the trades in so many; behind each but the first a server is killed."""
MINUTE_MS = 60_000
END = "2030-01-01T00:00:00.000Z"
RUNS = ("ordered", "shuffled", "killed")
Trade = tuple[int, str]
"""Event time, ms; its line in the file."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave."""

    name: str
    rows: list[tuple[object, ...]]
    """As `contents` has them."""
    bars: Bars
    seconds: float
    kills: Sequence[str]


def exchange_order() -> list[Trade]:
    with TRADES.open(encoding="utf-8") as file:
        return [
            (round(datetime.fromisoformat(json.loads(line)["event_time"]).timestamp() * 1000), line) for line in file
        ]


def arrival_order(trades: Sequence[Trade], seed: int) -> list[Trade]:
    """Each moment's trades arrive up to 4 s later than they happened, together."""
    draw = random.Random(seed)
    delays = {moment: draw.uniform(0, SHUFFLED_MS) for moment, _ in trades}
    return sorted(trades, key=lambda trade: trade[0] + delays[trade[0]])


def behind_a_later_one(trades: Sequence[Trade]) -> int:
    """How many trades."""
    latest, count = 0, 0
    for moment, _ in trades:
        count += moment < latest
        latest = max(latest, moment)
    return count


class Flow:
    """A followed file of trades, ingest, a Flink job and its rows, stepped by hand."""

    def __init__(self, file: Path, log: TopicLog, cluster: LocalCluster) -> None:
        self._file, self._log = file, log
        self._rows, self._offset, self.bars = topics.rows(finetuner_id("bars")), 0, 0
        self._given, self._latest = set[int](), 0
        time = EventTime("event_time", OUT_OF_ORDERNESS_MS, historical=True)
        source = SourceOptions(
            connector_id("trades"), "file", {"path": str(file), "format": "json", "follow": True}, SCHEMA, ("symbol",),
            ("symbol", "trade_id"), time,
        )  # fmt: skip
        query = TransformOptions(
            finetuner_id("bars"), (EXAMPLE / "bars.sql").read_text("utf-8"),
            (StreamBinding("trades", topics.events(connector_id("trades")), source),), timeline="event",
            checkpoint_interval_ms=CHECKPOINT_MS,
        )  # fmt: skip
        at = cluster.addresses
        engine = FlinkEngine({"gateway": at.flink_gateway, "jobmanager": at.flink_rest})
        openers: list[Callable[[], Stage]] = [
            lambda: IngestStage(IngestOptions(source), log, "benchmark"),
            lambda: TransformJobStage(query, log, "benchmark", engine, suspend=True),
        ]
        self._stages = [ReopenedStage(opener) for opener in openers]

    def feed(self, trades: Sequence[Trade]) -> None:
        with self._file.open("a", encoding="utf-8") as out:
            out.writelines(line for _, line in trades)
        self._given |= {moment // MINUTE_MS for moment, _ in trades}
        self._latest = max(self._latest, *(moment for moment, _ in trades))

    def until_closed(self, busy: Callable[[], bool]) -> None:
        """Steps until every window has its bar that is closed by what was fed, and nobody is busy. TimeoutError."""
        closed = sum((minute + 1) * MINUTE_MS <= self._latest - OUT_OF_ORDERNESS_MS for minute in self._given)
        deadline = monotonic() + PATIENCE_SECONDS
        while self.bars < closed or busy():
            if not self.step():
                sleep(0.02)
            if monotonic() > deadline:
                raise TimeoutError(f"{self.bars:,} of {closed:,} bars after {PATIENCE_SECONDS:.0f} s")

    def step(self) -> bool:
        """Each stage once; what may pass is tried again, as a role does. False: there was nothing to do."""
        try:
            worked = [stage.step() for stage in self._stages]
            for one in self._log.read(self._rows, self._offset):
                self._offset = one.offset + 1
                self.bars += one.kind == codec.ROW
        except RetryableError:
            sleep(0.2)
            return True
        return any(worked)

    def close(self) -> None:
        for stage in self._stages:
            stage.close()


def strike(cluster: LocalCluster, server: str, after: float) -> None:
    """SIGKILL; the server is started again."""
    sleep(after)
    cluster.kill(server)
    sleep(0.5)
    cluster.start(server)


def measure(name: str, trades: Sequence[Trade], cluster: LocalCluster, folder: Path, draw: random.Random) -> Run:
    """One run, from an empty topic to the last bar."""
    home = folder / name
    home.mkdir()
    last = {**json.loads(trades[-1][1]), "event_time": END, "trade_id": 0}
    given = [*trades, (round(datetime.fromisoformat(END).timestamp() * 1000), json.dumps(last) + "\n")]
    servers = list(SERVERS) if name == "killed" else []
    size = -(-len(given) // (PIECES if servers else 1))
    kills: list[str] = []
    started = monotonic()
    options = {"kafka": cluster.addresses.kafka, "kafka_prefix": f"{name}."}
    with (
        closing(open_log(home, technology="kafka", options=options)) as log,
        closing(Flow(home / "trades.jsonl", log, cluster)) as flow,
    ):
        for first in range(0, len(given), size):
            flow.feed(given[first : first + size])
            killer = threading.Thread()
            if first and servers:
                after = draw.uniform(0.1, 0.8)
                kills.append(f"{servers[0]} {after:.1f} s behind trade {first:,}, with {flow.bars:,} bars")
                killer = threading.Thread(target=strike, args=(cluster, servers.pop(0), after))
                killer.start()
            flow.until_closed(killer.is_alive)
        seconds = monotonic() - started
        until = monotonic() + 3 * CHECKPOINT_MS / 1000
        while monotonic() < until:  # what was written twice would come now
            flow.step()
        rows = topics.rows(finetuner_id("bars"))
        values = [one.value for one in read_all(log, rows) if one.kind == codec.ROW]
        return Run(name, contents(log, rows), read_bars(map(json.loads, values)), seconds, kills)


def report(run: Run, theirs: Bars, reference: Run) -> bool:
    """Prints a line of the table; whether all is as it shall be."""
    equal = sum(run.bars.get(key) == bar for key, bar in theirs.items())
    values = sum(
        one == other for key, bar in theirs.items() for one, other in zip(bar, run.bars.get(key, ()), strict=False)
    )
    same = run.rows == reference.rows
    print(
        f"| {run.name} | {len(run.bars):,} of {len(theirs):,} | {equal:,} of {len(theirs):,} | "
        f"{values:,} of {len(theirs) * len(COLUMNS):,} | {'–' if run is reference else 'yes' if same else 'no'} | {run.seconds:.0f} |",
        flush=True,
    )
    return same and not differences(run.bars, theirs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--seed", type=int, default=0, help="of the arrival, and of the moments of the kills")
    options = parser.parse_args()
    if not TRADES.is_file():
        return skip(f"{TRADES} is not there")
    ordered = exchange_order()
    arrival = arrival_order(ordered, options.seed)
    with BARS.open(encoding="utf-8", newline="") as file:
        theirs = read_bars(csv.DictReader(file))
    print(
        f"{len(ordered):,} trades; shuffled: {behind_a_later_one(arrival):,} of them arrive behind a later one; "
        f"wanted: {len(theirs):,} of {len(theirs):,} bars in every run\n"
    )
    print("| | bars | equal to the exchange's | values equal | rows as in the first run | s |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    runs: list[Run] = []
    well = True
    with tempfile.TemporaryDirectory() as folder, own_cluster("kafka", "flink") as cluster:
        for name in options.only:
            trades = arrival if name == "shuffled" else ordered
            runs.append(measure(name, trades, cluster, Path(folder), random.Random(options.seed)))
            well &= report(runs[-1], theirs, runs[0])
    for run in runs:
        print("".join(f"\n{run.name}: kill -9 of {kill}" for kill in run.kills), end="")
        found = differences(run.bars, theirs)
        print("".join(f"\n{run.name}: {sentence}" for sentence in found[:10]), end="")
    print("\n\nEvery target was reached." if well else "\n\nMissed: see the table.")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
