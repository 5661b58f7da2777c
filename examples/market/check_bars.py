"""Compares the bars that a query gave with an exchange's own candles, column by column, as exact decimal numbers.

    python check_bars.py bars.jsonl candles.csv

Both name the symbol and, as `event_time`, the start of the minute. Ends with status 1 where a bar is missing, too many or
different.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

COLUMNS = ("open", "high", "low", "close", "volume")
SHOWN = 10

Bars = dict[tuple[datetime, str], tuple[Decimal, ...]]
"""By minute and symbol: the five columns."""


def read_bars(rows: Iterable[Mapping[str, Any]]) -> Bars:
    """ValueError where a minute of a symbol comes twice, or where a column is not a number."""
    bars: Bars = {}
    for row in rows:
        minute = datetime.fromisoformat(str(row["event_time"])).astimezone(UTC)
        key = (minute, str(row["symbol"]))
        if key in bars:
            raise ValueError(f"{key[1]} has two bars at {minute.isoformat()}")
        bars[key] = tuple(Decimal(str(row[column])) for column in COLUMNS)
    return bars


def differences(ours: Bars, theirs: Bars) -> list[str]:
    """One sentence for each bar that is missing, too many, or different in a column, by time."""
    found: list[str] = []
    for key in sorted(ours.keys() | theirs.keys()):
        name = f"{key[1]} {key[0].isoformat()}"
        if key not in ours:
            found.append(f"{name}: the exchange has a bar, the query gave none")
        elif key not in theirs:
            found.append(f"{name}: the query gave a bar, the exchange has none")
        else:
            pairs = zip(COLUMNS, ours[key], theirs[key], strict=True)
            found += [
                f"{name}: {column} is {mine}, the exchange has {its}" for column, mine, its in pairs if mine != its
            ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", type=Path, help="JSON lines, as `headrace sql … -o jsonl` prints them")
    parser.add_argument(
        "candles", type=Path, help="CSV with a header: event_time, symbol, open, high, low, close, volume"
    )
    options = parser.parse_args()
    with options.bars.open(encoding="utf-8") as file:
        ours = read_bars(json.loads(line) for line in file if line.strip())
    with options.candles.open(encoding="utf-8", newline="") as file:
        theirs = read_bars(csv.DictReader(file))
    equal = sum(ours.get(key) == bar for key, bar in theirs.items())
    found = differences(ours, theirs)
    print(f"{equal:,} of {len(theirs):,} bars equal the exchange's own, all five columns")
    for sentence in found[:SHOWN]:
        print(f"  {sentence}")
    if len(found) > SHOWN:
        print(f"  … and {len(found) - SHOWN} more")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
