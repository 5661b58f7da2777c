"""Writes trades as JSON lines: `--rows N --symbols 50 --seed 0 [--disorder-seconds 5] [--out FILE]`.

A row is one trade of one symbol; price walks, time moves on by about 45 ms a row, so that two million rows make about
a day. With disorder a row's event time is earlier than the stream's by up to that many seconds. The same arguments give
the same bytes.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np

START_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
MEAN_STEP_MS = 7.2
CHUNK = 50_000


def lines(rows: int, symbols: int, seed: int, disorder_seconds: float) -> Iterator[str]:
    """The lines of the file, with their newlines."""
    rng = np.random.default_rng(seed)
    names = [f"S{i:02d}" for i in range(symbols)]
    prices = rng.uniform(10, 1000, symbols)
    now = float(START_MS)
    for start in range(0, rows, CHUNK):
        n = min(CHUNK, rows - start)
        times = now + np.cumsum(rng.exponential(MEAN_STEP_MS, n))
        now = float(times[-1])
        if disorder_seconds:
            times = times - rng.uniform(0, disorder_seconds * 1000, n)
        which = rng.integers(0, symbols, n)
        moves = rng.normal(0, 0.0005, n)
        amounts = rng.exponential(2.0, n)
        stamps = np.datetime_as_string(times.astype(np.int64).astype("datetime64[ms]"))
        for i in range(n):
            symbol = int(which[i])
            prices[symbol] *= 1 + moves[i]
            yield (
                f'{{"event_time":"{stamps[i]}Z","trade_id":{start + i + 1},"symbol":"{names[symbol]}",'
                f'"price":{prices[symbol]:.2f},"amount":{amounts[i]:.3f}}}\n'
            )


def write(out: TextIO, arguments: argparse.Namespace) -> None:
    out.writelines(lines(arguments.rows, arguments.symbols, arguments.seed, arguments.disorder_seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disorder-seconds", type=float, default=0.0)
    parser.add_argument("--out", type=Path, help="left out: stdout")
    arguments = parser.parse_args()
    if arguments.out is None:
        write(sys.stdout, arguments)
        return
    with arguments.out.open("w", encoding="utf-8") as out:
        write(out, arguments)


if __name__ == "__main__":
    main()
