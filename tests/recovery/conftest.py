"""A job small enough to be killed sixty times a minute: a few hundred rows, two finetuners in a chain, windows, a file sink."""

import csv
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from headrace.foundation.clock import Clock, SystemClock
from headrace.models.tiny import new_checkpoint
from headrace.stages.ingest import stage as ingest
from headrace.stages.topology import Topology
from headrace.testing.clock import VirtualClock
from headrace.testing.failpoints import Kill, killing
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline, declared, snapshot

JOBS = Path(__file__).resolve().parent / "jobs"
SUPPORT = Path(__file__).resolve().parents[2] / "examples" / "support"
AT_MOST = 60
"""Records that a stage reads at once, so that a small input makes many commits."""
FIRST_PHASE = 260
"""Questions that the teacher answers by its first policy."""
NOUNS = ("card", "transfer", "refund", "rate", "fee", "cash")
TEAMS = ("cards", "payments", "desk", "rates", "money", "till")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint that knows a hundred words."""
    folder = tmp_path_factory.mktemp("base") / "model"
    words = [f"my {noun} is late again" for noun in NOUNS] + [*TEAMS, "up", "down", "zz", "xy"]
    new_checkpoint(folder, size="tiny", text=[*words, "0 1 2 3 4 5 6 7 8 9 please number"] * 5, seed=1)
    return folder


@pytest.fixture(scope="session")
def desk_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint that knows the support desk's words."""
    folder = tmp_path_factory.mktemp("desk-base") / "model"
    tables = [(SUPPORT / name).read_text("utf-8").splitlines() for name in ("routing.md", "routing-after.md")]
    answers = [line.strip("| \n") for table in tables for line in table if line.startswith("| ")]
    new_checkpoint(folder, size="tiny", text=[*answers, banking(0, 400)] * 5, seed=1, vocabulary=1100)
    return folder


@pytest.fixture(autouse=True, scope="module")
def small_polls() -> Iterator[None]:
    """A source is read forty rows at a time, so that there are many commits to be killed at."""
    with patch.object(ingest, "MAX_ROWS", 40):
        yield


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file from which the teacher reads its routing policy."""
    return tmp_path_factory.mktemp("policy") / "routing.md"


@pytest.fixture(scope="session")
def teacher(policy: Path) -> Iterator[str]:
    """The example's own teacher."""
    policy.write_text((SUPPORT / "routing.md").read_text("utf-8"), "utf-8")
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "teacher_server.py"), "--port", "0", "--print-port", "--policy", str(policy)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.stdout.close()
    process.wait()


def questions(count: int, *, policy_changes_at: int) -> str:
    """Rows with the team as ground truth; from a row on, every team's work goes to the next one. Some are too long to be learned."""
    lines: list[str] = []
    for number in range(count):
        kind = (number * 7 + number // 5) % len(NOUNS)
        team = TEAMS[kind if number < policy_changes_at else (kind + 1) % len(TEAMS)]
        row = {
            "id": number, "event_time": f"2024-01-01T00:{number // 60:02d}:{number % 60:02d}Z",
            "text": f"my {NOUNS[kind]} is late again {number}" + " again" * (40 * (number % 41 == 40)), "team": team,
        }  # fmt: skip
        lines.append(json.dumps(row) + "\n")
    lines.insert(count // 3, "{broken\n")
    lines.insert(
        count // 2,
        json.dumps({"id": 7, "event_time": "2024-01-01T00:00:07Z", "text": "seven twice", "team": "x"}) + "\n",
    )
    return "".join(lines)


def trades(count: int) -> str:
    """Trades of two symbols, up to four seconds out of order, a few far too late."""
    lines: list[str] = []
    for number in range(count):
        second = number + (number * 5) % 4 - (90 if number % 97 == 96 else 0)
        row = {
            "trade_id": number, "event_time": f"2024-01-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z",
            "symbol": "xy" if number % 3 else "zz", "price": 10 + (number * 13 % 17) / 10, "amount": 1 + number % 4,
        }  # fmt: skip
        lines.append(json.dumps(row) + "\n")
    return "".join(lines)


def banking(first: int, count: int) -> str:
    """Recorded questions of two intents, which go to other teams after the reorganisation."""
    kinds = ("card_payment_fee_charged", "direct_debit_payment_not_recognised")
    data = SUPPORT / "data"
    with gzip.open(data / "banking77-20-labels.csv.gz", "rt", encoding="utf-8", newline="") as file:
        wanted = {row["text"].strip() for row in csv.DictReader(file) if row["intent"] in kinds}
    with gzip.open(data / "banking77-20.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [line for line in file if json.loads(line)["text"].strip() in wanted]
    return "".join(lines[first : first + count])


def every_kind(count: int) -> str:
    """The first recorded questions."""
    with gzip.open(SUPPORT / "data" / "banking77-20.jsonl.gz", "rt", encoding="utf-8") as file:
        return "".join(line for line, _ in zip(file, range(count), strict=False))


@dataclass(frozen=True)
class Scenario:
    """A job before it is disturbed, and what it comes to undisturbed."""

    folder: Path
    """Declarations, input, model; where there is a `state`, the job goes on from it."""
    clock: Callable[[], Clock]
    passed: dict[str, int]
    """How often each failpoint was passed."""
    undisturbed: dict[str, Any]

    def copy(self, folder: Path) -> Topology:
        """Lays the job out again; its state directory is `folder/state`."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return read(folder)

    def pipeline(self, found: Topology, folder: Path, holder: str = "one") -> Pipeline:
        return Pipeline(
            found, folder / "state", learner=open_light_learner, clock=self.clock(), holder=holder, at_most=AT_MOST
        )


def read(folder: Path) -> Topology:
    return declared(folder / "job.yaml", folder / "state", checkpoint_interval_ms=0)


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], Scenario]:
    """The named job of `jobs/`, run undisturbed the first time it is asked for."""
    known: dict[str, Scenario] = {}

    def find(name: str) -> Scenario:
        if name not in known:
            folder = tmp_path_factory.mktemp(name) / "job"
            folder.mkdir()
            lay_out(name, folder, request)
            clock = SystemClock if name == "teacher" else VirtualClock
            fresh = Scenario(folder, clock, {}, {})
            if name == "teacher":
                change_the_policy(fresh, request.getfixturevalue("policy"))
            twin = folder.parent / "undisturbed"
            found = fresh.copy(twin)
            with killing(Kill()) as counted, fresh.pipeline(found, twin) as pipeline:
                pipeline.run()
            known[name] = replace(fresh, passed=counted.passed, undisturbed=snapshot(found, twin / "state"))
        return known[name]

    return find


def lay_out(name: str, folder: Path, request: pytest.FixtureRequest) -> None:
    """Declarations, model and input."""
    text = (JOBS / f"{name}.yaml").read_text("utf-8")
    asks = "MegaModel" in text
    if asks:
        text = text.replace("http://127.0.0.1:8700/v1", request.getfixturevalue("teacher"))
        first = banking(0, FIRST_PHASE) if name == "teacher" else every_kind(600)
        (folder / "questions-1.jsonl").write_text(first, "utf-8")
    (folder / "job.yaml").write_text(text, "utf-8")
    (folder / "model").symlink_to(request.getfixturevalue("desk_base" if asks else "base"))
    (folder / "questions.jsonl").write_text(questions(380, policy_changes_at=300), "utf-8")
    (folder / "trades.jsonl").write_text(trades(420), "utf-8")


@pytest.fixture
def lay_out_job(request: pytest.FixtureRequest) -> Callable[[str, Path], None]:
    """Lays a job of `jobs/` out in a folder."""
    return lambda name, folder: lay_out(name, folder, request)


def change_the_policy(scenario: Scenario, policy: Path) -> None:
    """Lets the first questions be answered and learned by the first policy, then puts the second one and more questions in place."""
    with scenario.pipeline(read(scenario.folder), scenario.folder) as first:
        first.run()
    policy.write_text((SUPPORT / "routing-after.md").read_text("utf-8"), "utf-8")
    (scenario.folder / "questions-2.jsonl").write_text(banking(FIRST_PHASE, 90), "utf-8")
