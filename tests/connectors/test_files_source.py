"""Reading files: the real data, resuming, following, and bad input."""

import json
from pathlib import Path

import pyarrow as pa

from headrace.connectors.registry import open_source
from headrace.connectors.source import EventTime, Source, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.origin import decode_origin
from headrace.events.row_batch import RowBatch, concat
from headrace.events.schema import Column, RowSchema
from headrace.testing.clock import VirtualClock

TRADES = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"),
        Column("trade_id", "BIGINT"),
        Column("symbol", "STRING"),
        Column("price", "DECIMAL(38, 18)"),
        Column("amount", "DOUBLE"),
    )
)
NUMBERS = RowSchema((Column("n", "BIGINT"), Column("text", "STRING")))


def make(
    path: Path | str, schema: RowSchema | None = None, *, clock: VirtualClock | None = None, name: str = "things",
    ids: tuple[str, ...] = (), key: tuple[str, ...] = (), event_time: EventTime | None = None, **options: object,
) -> Source:  # fmt: skip
    source = SourceOptions(
        "default", name, "file", {"path": str(path), **options}, schema=schema, id=ids, key=key,
        event_time=event_time or EventTime(),
    )  # fmt: skip
    return open_source(source, SourceContext(clock=clock or VirtualClock()))


def drain(
    source: Source, max_rows: int = 1000, position: bytes | None = None
) -> tuple[list[RowBatch], list[DeadLetter], bytes]:
    """Everything that is there: until the end, or until there is nothing new."""
    source.open(position)
    return drain_on(source, max_rows)


def drain_on(source: Source, max_rows: int = 1000) -> tuple[list[RowBatch], list[DeadLetter], bytes]:
    batches: list[RowBatch] = []
    dead: list[DeadLetter] = []
    while True:
        batch = source.poll(max_rows, 0)
        if batch.rows is not None:
            assert 0 < batch.rows.num_rows <= max_rows
            batches.append(batch.rows)
        dead += [letter for _, letter in batch.dead]
        if batch.end or batch.waiting:
            return batches, dead, batch.position


def column(batches: list[RowBatch], name: str) -> list[object]:
    return [value for batch in batches for value in batch.table.column(name).to_pylist()]


def all_ids(batches: list[RowBatch]) -> list[str]:
    return [value for batch in batches for value in batch.ids.to_pylist()]


def test_real_trades_are_read_whole_and_typed_exactly(shared_data: Path) -> None:
    path = shared_data / "market" / "trades-XRP_ETH.jsonl"
    source = make(path, TRADES, ids=("trade_id",), key=("symbol",), event_time=EventTime("event_time"))
    batches, dead, _ = drain(source)
    rows = concat(batches)
    expected = [json.loads(line, parse_float=str) for line in path.read_text().splitlines()]
    assert rows.num_rows == len(expected) == 12_477
    assert dead == []
    assert [f"{price:f}".rstrip("0") for price in rows.table.column("price").to_pylist()] == [
        row["price"] for row in expected
    ]
    assert rows.ids[0].as_py() == f"things:{expected[0]['trade_id']}"
    assert set(rows.keys.to_pylist()) == {"XRP/ETH"}
    assert rows.event_times[0].as_py() == 1_570_752_011_620
    assert decode_origin(rows.origins[41].as_py()).position == "42"
    assert rows.offsets.to_pylist() == list(range(12_477))


def test_a_glob_of_real_candles_is_merged_by_event_time(shared_data: Path) -> None:
    source = make(shared_data / "market" / "candles-*_BTC-5m.csv", key=("symbol",), event_time=EventTime("event_time"))
    batches, dead, _ = drain(source, 777)
    rows = concat(batches)
    times = rows.event_times.to_pylist()
    assert rows.num_rows == 22_998
    assert dead == []
    assert times == sorted(times)
    assert set(rows.keys.to_pylist()) == {"ADA/BTC", "ETH/BTC", "LTC/BTC", "XMR/BTC"}
    assert rows.table.schema.field("event_time").type == pa.timestamp("ms", "UTC")
    whole, _, _ = drain(source, 10**6)
    assert all_ids(whole) == all_ids(batches)


def test_real_questions_with_commas_and_quotes_are_read(shared_data: Path) -> None:
    batches, dead, _ = drain(make(shared_data / "support" / "banking77-train.csv"))
    assert sum(batch.num_rows for batch in batches) == 10_003
    assert dead == []
    assert "How do I know if I will get my card, or if it is lost?" in column(batches, "text")
