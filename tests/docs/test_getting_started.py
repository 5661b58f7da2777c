"""docs/getting-started.md, followed step by step in an empty folder: its own YAML, its own commands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "getting-started.md").read_text("utf-8")
HEADRACE = [sys.executable, "-c", "from headrace.doors.cli import main; main()"]
TICKETS = 120
TEAMS = {
    "payments": "I was charged twice for order",
    "cards": "my card has not arrived yet",
    "accounts": "please close account",
}


def follow(folder: Path, line: str, *more: str) -> str:
    """Runs a command that stands on the page."""
    assert line in re.findall(r"^headrace .+$", PAGE, re.MULTILINE), f"{line} is not on the page"
    done = subprocess.run(
        [*HEADRACE, *shlex.split(line)[1:], *more],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", "HEADRACE_TRACKING": "none"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def yaml_of_the_page() -> str:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def tickets() -> str:
    lines: list[str] = []
    for number in range(TICKETS):
        team = list(TEAMS)[number % 7 % 3]
        ticket = {
            "id": f"T-{number}", "event_time": f"2026-03-02T08:{number // 60:02d}:{number % 60:02d}Z",
            "text": f"{TEAMS[team]} {number}", "team": team,
        }  # fmt: skip
        lines.append(json.dumps(ticket))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("getting-started")
    (made / "tickets.jsonl").write_text(tickets(), "utf-8")
    (made / "headrace.yaml").write_text(yaml_of_the_page(), "utf-8")
    follow(made, "headrace models new model --size tiny --text tickets.jsonl")
    follow(made, "headrace validate -f headrace.yaml")
    return made


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    text = follow(folder, "headrace run -f headrace.yaml --until-idle", "-o", "json", "--port", "0")
    return json.loads(text)["streamFinetuners"]["router"]


@pytest.mark.slow
def test_a_plan_says_what_will_be_made(folder: Path) -> None:
    plan = follow(folder, "headrace plan -f headrace.yaml")
    for name in ("tickets", "tiny", "router"):
        assert name in plan


@pytest.mark.slow
def test_every_ticket_is_learned_and_scored_once(summary: dict[str, Any]) -> None:
    assert (summary["rows"], summary["examples"], summary["deadLetters"]) == (TICKETS, TICKETS, 0)
    assert summary["exactMatch"]["last500"] is not None
    assert summary["weightsSha256"]


@pytest.mark.slow
@pytest.mark.usefixtures("summary")
def test_what_happened_can_be_looked_at(folder: Path) -> None:
    scores = [json.loads(line) for line in follow(folder, "headrace read default.router.scores --from -5").splitlines()]
    assert len(scores) == 5
    assert "default.router.examples" in follow(folder, "headrace topics")
    assert "default.router.scores" in follow(folder, "headrace lineage tickets:T-2")
    assert "served" in follow(folder, "headrace models list")


@pytest.mark.slow
@pytest.mark.usefixtures("summary")
def test_the_model_can_be_taken_along(folder: Path) -> None:
    follow(folder, "headrace models export router --to exported")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (folder / "exported").iterdir()
    }
