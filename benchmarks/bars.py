"""Two million trades of 50 symbols, JSON lines → one-minute open, high, low, close, volume: Headrace beside Bytewax and Polars.

    python benchmarks/bars.py [--rows 2000000] [--peers-python .venv-bench/bin/python] [--only headrace] [--no-tenfold] [--rounds 3]

Every contestant reads the same file (events up to 4 s out of order, 5 s allowed), fires a window when the watermark has closed
it, and must give the same bars. Everybody keeps a durable checkpoint at least every 50,000 rows: Headrace its own, Polars the rows
it holds and its place in the file, synced and renamed, Bytewax its recovery store, an epoch every 0.1 s. Wall time is that of the
whole process, the best of the rounds. Last, the same with ten times the rows shows what memory does.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

HERE = Path(__file__).resolve().parent
ROWS_PER_BATCH = 50_000
OUT_OF_ORDERNESS_MS = 5_000
MINUTE_MS = 60_000
DISORDER_SECONDS = 4
SQL = (
    "SELECT window_start, symbol, FIRST_VALUE(price) AS open, MAX(price) AS high, MIN(price) AS low, "
    "LAST_VALUE(price) AS close, SUM(amount) AS volume "
    "FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end, symbol"
)
Bar = tuple[str, str, float, float, float, float, float]


@dataclass(frozen=True)
class Measured:
    """One run of one contestant."""

    name: str
    wall_s: float
    cpu_s: float
    memory_mb: float
    engine_s: float | None
    bars: list[Bar]


# --- the contestants, each in a process of its own: bars.py --as NAME IN OUT ---


def run_headrace(source: Path, out: Path) -> None:
    """In process: what `headrace sql` does, less the printing, so that the engine's own time shows."""
    import pyarrow as pa

    from headrace.connectors.registry import open_source
    from headrace.connectors.source import EventTime, SourceContext, SourceOptions
    from headrace.events.row_codec import batch_to_records
    from headrace.stages.transform.file_query import FileQuery, Receivers, run_query
    from headrace.testing.resource_ids import connector_id

    pa.set_memory_pool(pa.system_memory_pool())  # as the command does
    time = EventTime("event_time", OUT_OF_ORDERNESS_MS, historical=True)
    options = SourceOptions(connector_id("trades"), "file", {"path": str(source)}, event_time=time)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder, out.open("wb") as file:
        wanted = FileQuery(
            SQL, {"trades": open_source(options, SourceContext())}, {"trades": time},
            checkpoint=Path(folder) / "checkpoint", checkpoint_rows=ROWS_PER_BATCH,
        )  # fmt: skip
        start = perf_counter()
        report = run_query(
            wanted, Receivers(lambda batch: file.writelines(one.value + b"\n" for one in batch_to_records(batch)))
        )
        took = perf_counter() - start
    print(json.dumps({"engine_s": took, "checkpoints": report.checkpoints}))


def run_polars(source: Path, out: Path) -> None:
    """Buffer and fire, in batches as large as Headrace's."""
    import io

    import polars as pl

    schema = {
        "event_time": pl.String,
        "trade_id": pl.Int64,
        "symbol": pl.String,
        "price": pl.Float64,
        "amount": pl.Float64,
    }
    held: Any = None
    latest = -(1 << 60)
    with source.open("rb") as lines, out.open("wb") as file:
        while chunk := b"".join(islice(lines, ROWS_PER_BATCH)):
            rows = pl.read_ndjson(io.BytesIO(chunk), schema=schema).with_columns(
                pl.col("event_time")
                .str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="ms")
                .dt.timestamp("ms")
                .alias("t")
            )
            rows = rows.with_columns(
                (pl.col("t") // MINUTE_MS * MINUTE_MS).alias("start"),
                (
                    pl.col("t").cum_max().shift(1, fill_value=latest).clip(lower_bound=latest) - OUT_OF_ORDERNESS_MS
                ).alias("mark"),
            )
            latest = max(latest, rows["t"].max())
            rows = rows.filter(pl.col("start") + MINUTE_MS > pl.col("mark")).drop("event_time", "trade_id", "mark")
            held = rows if held is None else pl.concat([held, rows])
            due = pl.col("start") + MINUTE_MS <= latest - OUT_OF_ORDERNESS_MS
            _write_polars(held.filter(due), file)
            held = held.filter(~due)
            file.flush()
            _keep(held, out.with_suffix(".checkpoint"), {"place": lines.tell(), "latest": latest})
        _write_polars(held, file)


def _keep(held: Any, path: Path, place: dict[str, int]) -> None:
    """A checkpoint: what is held and where to go on, durable and whole."""
    with path.with_suffix(".new").open("wb") as file:
        file.write(json.dumps(place).encode() + b"\n")
        held.write_ipc(file, compression="lz4")
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".new").replace(path)


def _write_polars(rows: Any, file: Any) -> None:
    import polars as pl

    if not rows.height:
        return
    bars = (
        rows.sort("t", maintain_order=True).group_by("start", "symbol", maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"), pl.col("price").max().alias("high"), pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"), pl.col("amount").sum().alias("volume"),
        )
        .sort("start", "symbol")
        .with_columns(pl.from_epoch("start", time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").alias("window_start"))
        .drop("start")
    )  # fmt: skip
    bars.write_ndjson(file)


def run_bytewax(source: Path, out: Path) -> None:
    """Its own event clock, tumbling windows and fold, with msgspec to read and write."""
    from datetime import UTC, datetime, timedelta

    import bytewax.operators as op
    import bytewax.operators.windowing as windowing
    import msgspec
    from bytewax.connectors.files import FileSink, FileSource
    from bytewax.dataflow import Dataflow
    from bytewax.recovery import RecoveryConfig, init_db_dir
    from bytewax.testing import run_main

    class Trade(msgspec.Struct, gc=False):
        event_time: datetime
        symbol: str
        price: float
        amount: float

    decoder, encoder = msgspec.json.Decoder(Trade), msgspec.json.Encoder()

    def fold(bar: list[Any], trade: Trade) -> list[Any]:
        if not bar:
            price = trade.price
            return [trade.event_time, trade.event_time, price, price, price, price, trade.amount]
        if trade.event_time < bar[0]:
            bar[0], bar[2] = trade.event_time, trade.price
        if trade.event_time >= bar[1]:
            bar[1], bar[5] = trade.event_time, trade.price
        bar[3], bar[4] = max(bar[3], trade.price), min(bar[4], trade.price)
        bar[6] += trade.amount
        return bar

    align = datetime(2024, 1, 1, tzinfo=UTC)

    def line(item: tuple[str, tuple[int, list[Any]]]) -> tuple[str, str]:
        symbol, (number, bar) = item
        start = (align + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        names = ("open", "high", "low", "close", "volume")
        return symbol, encoder.encode(
            {"window_start": start, "symbol": symbol, **dict(zip(names, bar[2:], strict=True))}
        ).decode()

    flow = Dataflow("bars")
    texts = op.input("in", flow, FileSource(str(source), batch_size=1_000))
    trades = op.map("parse", texts, decoder.decode)
    keyed = op.key_on("key", trades, lambda trade: trade.symbol)
    clock = windowing.EventClock(
        lambda trade: trade.event_time, wait_for_system_duration=timedelta(milliseconds=OUT_OF_ORDERNESS_MS)
    )
    windower = windowing.TumblingWindower(length=timedelta(minutes=1), align_to=align)
    bars = windowing.fold_window(
        "fold", keyed, clock, windower, list, fold, lambda one, other: one + other, ordered=False
    )
    op.output("out", op.map("line", bars.down, line), FileSink(str(out)))
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        init_db_dir(Path(folder), 1)
        run_main(flow, epoch_interval=timedelta(seconds=0.1), recovery_config=RecoveryConfig(folder))


CONTESTANTS: dict[str, Callable[[Path, Path], None]] = {
    "headrace": run_headrace, "polars": run_polars, "bytewax": run_bytewax,
}  # fmt: skip


# --- the judge ---


def measure(name: str, command: list[str], out: Path, *, to_stdout: bool = False) -> Measured:
    """Runs a command and reads its bars from `out`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": str(out.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # imports are compiled once, in the first round, as on any machine
    start = perf_counter()
    with (out if to_stdout else out.with_suffix(".said")).open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.PIPE, env=environment)
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = perf_counter() - start
    if process.returncode:
        sys.exit(f"{name} ended with {process.returncode}:\n{errors.decode()[-2000:]}")
    told = {} if to_stdout else json.loads(out.with_suffix(".said").read_text() or "{}")
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(name, wall, cpu, usage.ru_maxrss / 1024, told.get("engine_s"), sorted(_bars(out)))


def _bars(out: Path) -> Iterator[Bar]:
    with out.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            yield (
                row["window_start"],
                row["symbol"],
                row["open"],
                row["high"],
                row["low"],
                row["close"],
                row["volume"],
            )


def check_equal(one: Measured, other: Measured) -> None:
    """Prices are equal, volumes up to the order in which they were added."""
    equal = len(one.bars) == len(other.bars) and all(
        left[:6] == right[:6] and math.isclose(left[6], right[6], rel_tol=1e-9)
        for left, right in zip(one.bars, other.bars, strict=True)
    )
    if not equal:
        differing = [pair for pair in zip(one.bars, other.bars, strict=False) if pair[0][:6] != pair[1][:6]]
        sys.exit(f"{one.name} ({len(one.bars)} bars) and {other.name} ({len(other.bars)}) differ: {differing[:2]}")


def commands(source: Path, folder: Path, peers: str, only: list[str]) -> Iterator[tuple[str, list[str], Path, bool]]:
    """(name, command, file of bars, whether it comes on standard output)"""
    headrace = [sys.executable, "-c", "from headrace.doors.cli import main; main()", "sql"]
    arguments = ["--source", f"trades={source}", "--event-time", "event_time", "--out-of-orderness", "5s"]
    if "headrace" in only:
        out = folder / "sql.jsonl"
        with tempfile.TemporaryDirectory(dir=folder) as checkpoint:
            yield "headrace sql", [*headrace, *arguments, "--checkpoint", checkpoint, SQL], out, True
    for name in CONTESTANTS:
        if name in only:
            python = sys.executable if name == "headrace" else peers
            out = folder / f"{name}.jsonl"
            title = "headrace in process" if name == "headrace" else name
            yield title, [python, __file__, "--as", name, str(source), str(out)], out, False


def write_trades(path: Path, rows: int) -> None:
    command = [
        sys.executable, str(HERE / "make_trades.py"), "--rows", str(rows), "--disorder-seconds", str(DISORDER_SECONDS), "--out", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True)


def best_of(rounds: int, source: Path, folder: Path, peers: str, only: list[str]) -> list[Measured]:
    """The best run of each, in turns; everybody's bars are compared in every round."""
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        given: list[Measured] = []
        for name, command, out, to_stdout in commands(source, folder, peers, only):
            out.unlink(missing_ok=True)
            given.append(measure(name, command, out, to_stdout=to_stdout))
        for other in given[1:]:
            check_equal(given[0], other)
        for one in given:
            if one.name not in best or one.wall_s < best[one.name].wall_s:
                best[one.name] = one
    return list(best.values())


def table(rows: int, found: list[Measured]) -> str:
    """Markdown; ratios are to `headrace sql`."""
    base = found[0]
    lines = [
        f"{rows:,} trades → {len(base.bars):,} bars, every output equal",
        "",
        "| | wall s | engine s | CPU s | memory MB | wall ÷ headrace sql |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        engine = f"{one.engine_s:.2f}" if one.engine_s is not None else "–"
        lines.append(
            f"| {one.name} | {one.wall_s:.2f} | {engine} | {one.cpu_s:.2f} | {one.memory_mb:.0f} | {one.wall_s / base.wall_s:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-python", default=str(HERE.parent / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument(
        "--tenfold", action=argparse.BooleanOptionalAction, default=True, help="also with ten times the rows"
    )
    parser.add_argument("--as", dest="contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        CONTESTANTS[arguments.contestant](*arguments.files)
        return
    only = [name for name in CONTESTANTS if name in arguments.only]
    if not Path(arguments.peers_python).exists() and set(only) - {"headrace"}:
        sys.exit(
            f"{arguments.peers_python} is not there: run `make bench-setup`, or name an interpreter with --peers-python"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "trades.jsonl"
        write_trades(source, arguments.rows)
        found = best_of(arguments.rounds, source, folder, arguments.peers_python, only)
        print(table(arguments.rows, found), flush=True)
        if arguments.tenfold and "headrace" in only:
            write_trades(source, arguments.rows * 10)
            big = best_of(1, source, folder, arguments.peers_python, ["headrace"])
            print(f"\n{table(arguments.rows * 10, big)}\n")
            print(f"memory with ten times the rows: {big[0].memory_mb / found[0].memory_mb:.2f} × as much")


if __name__ == "__main__":
    main()
