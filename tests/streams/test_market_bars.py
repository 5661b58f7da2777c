"""The exchange's own one-minute candles out of its trades: 2,469 of 2,469, all five columns."""

import csv
import random
from datetime import datetime

import pyarrow as pa
import pytest

from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_engine import EngineOptions, QuerySpec, StreamInput

SQL = (
    "SELECT window_start, symbol, FIRST_VALUE(price) AS open, MAX(price) AS high, MIN(price) AS low, LAST_VALUE(price) AS close, "
    "SUM(amount) AS volume FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end, symbol"
)
SCHEMA = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("trade_id", "BIGINT"), Column("symbol", "STRING"),
        Column("price", "DECIMAL(38, 18)"), Column("amount", "DECIMAL(38, 18)"),
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def trades(shared_data) -> pa.Table:
    from pyarrow import json

    path = shared_data / "market" / "trades-XRP_ETH.jsonl"
    text = pa.schema([("event_time", pa.string()), ("price", pa.decimal128(38, 18)), ("amount", pa.decimal128(38, 18))])
    table = json.read_json(path, parse_options=json.ParseOptions(explicit_schema=text))
    times = [datetime.fromisoformat(one) for one in table["event_time"].to_pylist()]
    return table.select(["trade_id", "symbol", "price", "amount"]).add_column(0, "event_time", pa.array(times, pa.timestamp("ms", "UTC"))).cast(SCHEMA.to_arrow())  # fmt: skip


@pytest.fixture(scope="module")
def candles(shared_data) -> list[dict[str, str]]:
    with (shared_data / "market" / "candles-XRP_ETH-1m.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bars(table: pa.Table, size: int) -> list[dict]:
    engine = DuckDBEngine()
    spec = QuerySpec(SQL, [StreamInput("trades", SCHEMA, "default.trades.events", "event_time", 5_000)])
    query = engine.start(spec, engine.plan(spec), {}, EngineOptions())
    count = table.num_rows
    times = table["event_time"].combine_chunks().cast(pa.int64())
    text, zero = pa.array([""] * count, pa.string()), pa.array([0] * count, pa.int64())
    batch = RowBatch(table, SCHEMA, text, text, times, zero, text, pa.array(range(count), pa.int64()))
    outputs = [query.process("trades", batch.slice(first, min(size, count - first))) for first in range(0, count, size)]
    outputs.append(query.end_of_input("trades"))
    assert not any(one.late for one in outputs)
    return [row for one in outputs if one.rows is not None for row in one.rows.table.to_pylist()]


def agreeing(rows: list[dict], candles: list[dict[str, str]]) -> int:
    columns = ("open", "high", "low", "close", "volume")
    return sum(
        row["window_start"] == datetime.fromisoformat(candle["event_time"])
        and all(float(row[name]) == float(candle[name]) for name in columns)
        for row, candle in zip(rows, candles, strict=True)
    )


def test_every_candle_of_the_exchange_comes_out(trades, candles):
    assert agreeing(bars(trades, 1_000), candles) == 2_469


def test_arrival_in_another_order_by_up_to_four_seconds_changes_no_candle(trades, candles):
    """A trade's place in the file stays the tie-break: only trades of different milliseconds change places."""
    rng = random.Random(0)
    times = trades["event_time"].cast(pa.int64()).to_pylist()
    delays = {moment: rng.uniform(0, 4_000) for moment in set(times)}
    order = sorted(range(len(times)), key=lambda place: (times[place] + delays[times[place]], place))
    assert order != list(range(len(times)))
    assert agreeing(bars(trades.take(order), 997), candles) == 2_469
