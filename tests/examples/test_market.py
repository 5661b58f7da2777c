"""The market example: bars equal to the exchange's own, flow windows equal to a plain count, YAML in step with the SQL."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.foundation.settings import Settings
from headrace.kinds.catalog import load
from headrace.kinds.topology import topology
from headrace.models.tiny import new_checkpoint
from headrace.stages.label.options import LabelOptions
from headrace.stages.train.options import TrainOptions

MARKET = Path(__file__).resolve().parents[2] / "examples" / "market"
HEADRACE = [sys.executable, "-c", "from headrace.doors.cli import main; main()"]
MINUTE = 60_000
FIRST_TRADES = 1_500


@pytest.fixture(scope="module")
def trades(shared_data: Path) -> Path:
    return shared_data / "market" / "trades-XRP_ETH.jsonl"


@pytest.fixture(scope="module")
def candles(shared_data: Path) -> Path:
    return shared_data / "market" / "candles-XRP_ETH-1m.csv"


def command(*arguments: str, cwd: Path) -> str:
    """What a command prints, run as a person runs it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*HEADRACE, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def query(name: str, trades: Path, folder: Path) -> str:
    return command(
        "sql", "-f", str(MARKET / name), "--source", f"trades={trades}", "--event-time", "event_time",
        "--out-of-orderness", "5s", "-o", "jsonl", cwd=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bars(trades: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bars")
    path = folder / "bars.jsonl"
    path.write_text(query("bars.sql", trades, folder), "utf-8")
    return path


def check(bars: Path, candles: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(MARKET / "check_bars.py"), str(bars), str(candles)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_every_bar_equals_the_exchanges_own_in_all_five_columns(bars: Path, candles: Path) -> None:
    done = check(bars, candles)
    assert done.stdout == "2,469 of 2,469 bars equal the exchange's own, all five columns\n"
    assert done.returncode == 0


def test_a_bar_that_differs_is_missing_or_too_many_is_said(tmp_path: Path) -> None:
    header = "event_time,symbol,open,high,low,close,volume\n"
    line = "2020-01-01T00:{:02d}:00Z,A,1,2,0.5,1.5,{}\n"
    (tmp_path / "candles.csv").write_text(header + line.format(0, 7) + line.format(1, 7) + line.format(2, 7))
    bar = {"symbol": "A", "open": 1, "high": 2.0, "low": "0.50", "close": 1.5}
    found = [
        {**bar, "event_time": "2020-01-01T00:00:00.000Z", "volume": 7.000},
        {**bar, "event_time": "2020-01-01T00:01:00.000Z", "volume": 7.001},
        {**bar, "event_time": "2020-01-01T00:03:00.000Z", "volume": 7},
    ]
    (tmp_path / "bars.jsonl").write_text("\n".join(json.dumps(one) for one in found))
    done = check(tmp_path / "bars.jsonl", tmp_path / "candles.csv")
    assert done.returncode == 1
    assert done.stdout.startswith("1 of 3 bars")
    for sentence in ("volume is 7.001, the exchange has 7", "the query gave none", "the exchange has none"):
        assert sentence in done.stdout


def test_the_documents_print_what_the_check_prints() -> None:
    text = (MARKET / "README.md").read_text("utf-8")
    assert "2,469 of 2,469 bars equal the exchange's own, all five columns" in text


def test_the_yaml_holds_the_query_of_flow_sql_word_for_word() -> None:
    lines = (MARKET / "flow.sql").read_text("utf-8").splitlines()
    plain = "\n".join(line for line in lines if not line.startswith("--"))
    documents = yaml.safe_load_all((MARKET / "headrace.yaml").read_text("utf-8"))
    finetuner = next(one for one in documents if one["kind"] == "StreamFinetuner")
    assert finetuner["spec"]["finetunerTemplate"]["preProcessing"]["preProcessingSQL"].strip() == plain.strip()


def test_the_example_says_what_is_missing_until_the_model_is_made(tmp_path: Path) -> None:
    folder = shutil.copytree(MARKET, tmp_path / "market", ignore=shutil.ignore_patterns("model", ".headrace"))
    before = topology(load([folder]).resources, Settings(), {})
    assert {one.reason for one in before.not_ready} == {"BaseModelNotFound"}
    new_checkpoint(folder / "model", size="tiny", text=(folder / "words.txt").read_text("utf-8").splitlines())
    after = topology(load([folder]).resources, Settings(), {})
    assert after.not_ready == ()
    assert [one.id.name for one in after.options(TrainOptions)] == ["flow"]
    assert after.options(LabelOptions)[0].teacher is None


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def rounded(value: float) -> int:
    """Halves away from zero, as SQL has it."""
    return int(value + 0.5) if value >= 0 else -int(-value + 0.5)


def minute_bars(trades: Path) -> dict[int, tuple[float, float, float, float]]:
    """By the minute's start: first and last price, amount, amount bought. The file is in the exchange's order."""
    found: dict[int, list[Any]] = defaultdict(list)
    with trades.open() as file:
        for line in file:
            trade = json.loads(line)
            found[milliseconds(trade["event_time"]) // MINUTE * MINUTE].append(trade)
    return {
        start: (
            some[0]["price"],
            some[-1]["price"],
            sum(one["amount"] for one in some),
            sum(one["amount"] for one in some if one["side"] == "buy"),
        )
        for start, some in found.items()
    }


def flow_windows(trades: Path) -> Iterator[tuple[int, int, int, int]]:
    """End of window, move, share bought, newest bar: counted without any engine."""
    bars = minute_bars(trades)
    ends = sorted({start + step * MINUTE for start in bars for step in range(1, 6)})
    for end in ends:
        some = [bars[start] for start in range(end - 5 * MINUTE, end, MINUTE) if start in bars]
        volume = sum(one[2] for one in some)
        move = (some[-1][1] / some[0][0] - 1) * 10_000
        bought = sum(one[3] for one in some) / volume * 100
        newest = some[-1][2] / (volume / len(some)) * 100
        yield end, rounded(move), rounded(bought), rounded(newest)


@pytest.mark.slow
def test_flow_windows_equal_a_plain_count(trades: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in query("flow.sql", trades, tmp_path).splitlines()]
    ours = [
        (milliseconds(one["event_time"]), one["move_bp"], one["bought_percent"], one["newest_percent"]) for one in rows
    ]
    assert len(ours) == 3_533
    assert ours == list(flow_windows(trades))


def test_the_words_say_what_the_numbers_say(trades: Path, tmp_path: Path) -> None:
    first = tmp_path / "trades.jsonl"
    with trades.open() as file:
        first.write_text("".join(line for line, _ in zip(file, range(FIRST_TRADES), strict=False)))
    rows = [json.loads(line) for line in query("flow.sql", first, tmp_path).splitlines()]
    assert len({row["answer"] for row in rows}) > 10
    for row in rows:
        move, bought, newest = row["move_bp"], row["bought_percent"], row["newest_percent"]
        direction = "up" if move >= 3 else "down" if move <= -3 else "flat"
        pressure = "buyers" if bought >= 60 else "sellers" if bought <= 40 else "balanced"
        activity = "rising" if newest >= 150 else "fading" if newest <= 50 else "steady"
        assert row["answer"] == f"{direction} | {pressure} | {activity}"


def test_the_candles_of_the_test_are_those_of_the_trades(trades: Path, candles: Path) -> None:
    with candles.open(newline="") as file:
        minutes = {milliseconds(row["event_time"]) for row in csv.DictReader(file)}
    assert minutes == set(minute_bars(trades))
