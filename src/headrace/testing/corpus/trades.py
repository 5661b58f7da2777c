"""Queries over some hours of real trades, in the exchange's order and shuffled; without rows where the data are absent."""

import random
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec

from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.streams.stream_engine import QuerySpec, StreamInput
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.readings import row_batch

FILE = Path(__file__).resolve().parents[5] / "shared" / "data" / "market" / "trades-XRP_ETH.jsonl"
"""Beside the checkout."""
TRADES = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("trade_id", "BIGINT"), Column("symbol", "STRING"), Column("side", "STRING"),
        Column("price", "DECIMAL(38, 18)"), Column("amount", "DECIMAL(38, 18)"),
    )
)  # fmt: skip
ROWS = 1_500
_BY = "GROUP BY window_start, window_end"
_MINUTE = "TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))"
_QUERIES = (
    ("one-minute bars", "SELECT window_start, symbol, FIRST_VALUE(price) AS o, MAX(price) AS h, MIN(price) AS l, LAST_VALUE(price) AS c, "
     f"SUM(amount) AS v, COUNT(*) AS n FROM {_MINUTE} {_BY}, symbol"),
    ("turnover by side", "SELECT window_start, window_end, side, SUM(CAST(price AS DOUBLE) * CAST(amount AS DOUBLE)) AS turnover, AVG(price) AS mean, MAX(amount) AS most "
     f"FROM TABLE(HOP(TABLE trades, DESCRIPTOR(event_time), INTERVAL '5' MINUTE, INTERVAL '15' MINUTE)) {_BY}, side"),
    ("the largest trade of each side", "SELECT window_end, side, trade_id, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, side ORDER BY amount DESC, trade_id) AS r "
     "FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' HOUR))) WHERE r = 1"),
)  # fmt: skip


def trade_queries() -> Sequence[CorpusQuery]:
    """Each query over the trades in order, and over the same out of order by up to 30 s, 25 s more than is waited for."""
    found = list[CorpusQuery]()
    stream = StreamInput("trades", TRADES, "default.trades.events", "event_time", 5_000)
    for order, batches in (("in order", _ordered()), ("shuffled", _shuffled())):
        found += [
            CorpusQuery(f"trades {order}: {name}", "real trades", QuerySpec(sql, [stream]), batches)
            for name, sql in _QUERIES
        ]
    return found


@cache
def _rows() -> list[tuple[object, ...]]:
    with FILE.open("rb") as lines:
        trades = [msgspec.json.decode(line) for line, _ in zip(lines, range(ROWS), strict=False)]
    return [
        (round(datetime.fromisoformat(one["event_time"]).timestamp() * 1000), one["trade_id"], one["symbol"], one["side"], str(one["price"]), str(one["amount"]))
        for one in trades
    ]  # fmt: skip


@cache
def _ordered() -> dict[str, RowBatch]:
    return {"trades": row_batch(TRADES, _rows(), "t")} if FILE.is_file() else {}


@cache
def _shuffled() -> dict[str, RowBatch]:
    if not FILE.is_file():
        return {}
    draw = random.Random(4)
    arrivals = [(row[0] + draw.randrange(30_000), row) for row in _rows()]  # type: ignore[operator]
    return {"trades": row_batch(TRADES, [row for _, row in sorted(arrivals, key=lambda one: one[0])], "t")}
