"""Measures the embedded log: appends by size of batch, replay, group commit, and the way from rows to the log and back.

    python benchmarks/log_throughput.py [--records 200000] [--value-bytes 1000] [--threads 16] [--folder DIR]

Prints Markdown. Every append is one durable commit (fsync); put `--folder` on the disk that is to be measured.
"""

import argparse
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from time import perf_counter

import pyarrow as pa

from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records, records_to_batch
from headrace.events.schema import Column, RowSchema
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec

ROWS_PER_BATCH = 10_000
SCHEMA = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("trade_id", "BIGINT"), Column("symbol", "STRING"),
        Column("side", "STRING"), Column("price", "DECIMAL(38, 18)"), Column("amount", "DOUBLE"),
    )
)  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def row(what: str, count: int, took: float, note: str = "") -> None:
    print(f"| {what} | {count / took:,.0f} | {note} |")


def records(count: int, value_bytes: int) -> list[NewRecord]:
    value = bytes(value_bytes)
    return [
        NewRecord(f"trades:{n}", "row/1", value, n, "XRP/ETH", '{"source":"trades","position":"1"}')
        for n in range(count)
    ]


def commit(log: TopicLog, topic: str, batch: list[NewRecord], turn: int) -> None:
    """What a stage commits: outputs, its offset and its state."""
    log.commit(
        Commit(
            [Append(topic, batch)], [GroupOffset("stage", topic, turn)], {StateKey("stage", "watermark"): b"%d" % turn}
        )
    )


def measure_appends(log: TopicLog, total: int, value_bytes: int) -> None:
    for size in (1, 100, 1_000, 10_000):
        topic, batch = f"append.{size}", records(size, value_bytes)
        log.ensure_topic(TopicSpec(topic))
        commits = max(1, (total if size > 1 else total // 100) // size)
        took = seconds(
            lambda topic=topic, batch=batch, commits=commits: [commit(log, topic, batch, n) for n in range(commits)]
        )
        row(f"append, {size:,} per commit", commits * size, took, f"{took / commits * 1e3:.2f} ms per commit")


def measure_replay(log: TopicLog) -> None:
    topic, offset = "append.10000", 0
    start = perf_counter()
    while batch := log.read(topic, offset):
        offset = batch[-1].offset + 1
    row("replay", offset, perf_counter() - start)


def measure_group_commit(log: TopicLog, threads: int, value_bytes: int) -> None:
    batch, commits = records(10, value_bytes), 100
    for count in (1, threads):
        log.ensure_topic(TopicSpec("group"))
        workers = [
            threading.Thread(target=lambda: [commit(log, "group", batch, n) for n in range(commits)])
            for _ in range(count)
        ]
        took = seconds(lambda workers=workers: [*(w.start() for w in workers), *(w.join() for w in workers)])
        row(
            f"commits of 10 records, {count} threads",
            count * commits,
            took,
            f"{took / commits * 1e3:.2f} ms per commit",
        )


def trades(count: int) -> RowBatch:
    numbers = range(count)
    columns = {
        "event_time": pa.array((1_570_752_011_620 + n for n in numbers), pa.timestamp("ms", "UTC")),
        "trade_id": pa.array(numbers),
        "symbol": pa.array(["XRP/ETH"] * count),
        "side": pa.array(["sell", "buy"] * (count // 2)),
        "price": pa.array((Decimal(141_342 + n) / 10**8 for n in numbers), pa.decimal128(38, 18)),
        "amount": pa.array(n * 0.37 for n in numbers),
    }
    times = pa.array(numbers, pa.int64())
    return RowBatch(
        pa.table(columns), SCHEMA, pa.array([f"trades:{n}" for n in numbers]), columns["symbol"], times, times,
        pa.array(["{}"] * count), times,
    )  # fmt: skip


def measure_rows(log: TopicLog, total: int) -> None:
    rows, batches = trades(ROWS_PER_BATCH), max(1, total // ROWS_PER_BATCH)
    made = batch_to_records(rows)
    log.ensure_topic(TopicSpec("rows"))
    log.ensure_topic(TopicSpec("rows.again"))

    def into_the_log(topic: str, batch: RowBatch, turn: int) -> None:
        commit(log, topic, batch_to_records(batch), turn)

    def through_the_log() -> None:
        for turn in range(batches):
            held = log.read("rows", turn * ROWS_PER_BATCH, max_records=ROWS_PER_BATCH)
            into_the_log("rows.again", records_to_batch(held, SCHEMA), turn)

    row(
        "rows → records",
        len(made) * batches,
        seconds(lambda: [batch_to_records(rows) for _ in range(batches)]),
        "6 columns",
    )
    row("rows → log", len(made) * batches, seconds(lambda: [into_the_log("rows", rows, n) for n in range(batches)]))
    held = log.read("rows", 0, max_records=ROWS_PER_BATCH)
    row(
        "records → rows", len(held) * batches, seconds(lambda: [records_to_batch(held, SCHEMA) for _ in range(batches)])
    )
    row("log → rows → log", len(held) * batches, seconds(through_the_log))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000, help="per measurement")
    parser.add_argument("--value-bytes", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="left out: the temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, closing(open_log(Path(folder))) as log:
        print(f"Records of {arguments.value_bytes:,} bytes\n\n| what | per second | |\n| --- | --- | --- |")
        measure_appends(log, arguments.records, arguments.value_bytes)
        measure_replay(log)
        measure_group_commit(log, arguments.threads, arguments.value_bytes)
        measure_rows(log, arguments.records)


if __name__ == "__main__":
    main()
