"""What `plan` says of changed fields, and what `apply` and `run` do with a change that needs a reset."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace.control.resource_store import ResourceStore
from headrace.doors.cli.app import main
from headrace.log.registry import open_log
from headrace.models.tiny import new_checkpoint
from headrace.stages.train.train_state import read_train_state
from headrace.testing.builders import read_all
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline, declared
from headrace.testing.resource_ids import finetuner_id

YAML = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: questions}
spec:
  type: file
  file: {path: questions.jsonl, format: json}
  schema:
    - {name: text, type: STRING}
    - {name: team, type: STRING}
---
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {name: tiny}
spec: {baseModelServingInfo: {path: model}}
---
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {name: desk}
spec:
  finetunerInfo: {baseModel: tiny, dataSource: {sourceStreamConnector: questions}}
  promptTemplate: [{systemContext: "You sort questions.", userQuestion: "{text}"}]
  groundTruth: {column: team}
  trainer: {batchSize: 8, learningRate: 0.005}
  learning: {method: full}
---
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: results}
spec:
  direction: sink
  type: file
  file: {path: out, format: json}
  input: {streamFinetuner: desk, topic: examples}
"""
LORA = ("method: full", "method: lora")
BATCH = ("batchSize: 8", "batchSize: 16")
QUESTIONS = 24


@dataclass
class Folder:
    """Where a person works: a file of declarations, and a state that has learned from it."""

    path: Path
    capsys: pytest.CaptureFixture[str]

    def edit(self, *changes: tuple[str, str]) -> None:
        file = self.path / "headrace.yaml"
        text = file.read_text("utf-8")
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        file.write_text(text, "utf-8")

    def learn(self) -> None:
        """Runs what the file declares to its end."""
        found = declared(self.path / "headrace.yaml", self.state)
        with Pipeline(found, self.state, learner=open_light_learner) as pipeline:
            pipeline.run()

    @property
    def state(self) -> Path:
        return self.path / ".headrace"

    def headrace(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, what it printed, what it said."""
        sys.argv = ["headrace", *arguments]
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self.capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    def applied(self) -> dict[str, Any]:
        log = open_log(self.state)
        try:
            return {str(one.id): one.raw for one in ResourceStore(log).all()}
        finally:
            log.close()

    def rounds(self) -> int | None:
        """Of the model; None: it has not begun."""
        log = open_log(self.state)
        try:
            state = read_train_state(log, finetuner_id("desk"))
            return state.offset if state else None
        finally:
            log.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Folder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_TRACKING", "none")
    monkeypatch.setattr(sys, "argv", ["headrace"])
    rows = [{"text": f"my card {number % 5}", "team": "cards"} for number in range(QUESTIONS)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "headrace.yaml").write_text(YAML)
    new_checkpoint(tmp_path / "model", size="tiny", text=["my card 0 1 2 3 4 cards"] * 5, seed=1, vocabulary=512)
    made = Folder(tmp_path, capsys)
    assert made.headrace("apply", "-f", "headrace.yaml")[0] == 0
    return made


CHANGES = {
    "trainer.batchSize: 8 → 16 (from the next round)": BATCH,
    "learning.method: full → lora (needs a reset from model)": LORA,
    "promptTemplate[0].systemContext: You sort questions. → Sort. (from the next record)": ("You sort questions.", "Sort."),
    "teacher.concurrency: 16 (default) → 4 (at once)": ("  learning:", "  teacher: {concurrency: 4}\n  learning:"),
    "schema: text, team → text, team, mood (new query)": ("    - {name: team, type: STRING}", "    - {name: team, type: STRING}\n    - {name: mood, type: STRING}"),
    "schema.team.type: STRING → CHAR(9) (needs a reset from source)": ("team, type: STRING", "team, type: CHAR(9)"),
    "file.path: out → elsewhere (needs a reset from sink)": ("path: out", "path: elsewhere"),
    "input.topic: examples → rows (from the next record)": ("topic: examples", "topic: rows"),
    "baseModelServingTemplate.replicas: 1 (default) → 2 (restart, continues)": ("{path: model}", "{path: model}, baseModelServingTemplate: {replicas: 2}"),
    "baseModelName: (left out) → small (no effect)": ("{path: model}", "{path: model}, baseModelName: small"),
    "promotion.alpha: 0.05 (default) → 0.1 (from the next candidate)": ("  learning:", "  promotion: {alpha: 0.1}\n  learning:"),
    "file.follow: false (default) → true (at once)": ("questions.jsonl,", "questions.jsonl, follow: true,"),
}  # fmt: skip


def test_plan_prints_the_verdict_of_each_changed_field(folder: Folder) -> None:
    found: set[str] = set()
    for line, change in CHANGES.items():
        before = (folder.path / "headrace.yaml").read_text("utf-8")
        folder.edit(change)
        code, printed, _ = folder.headrace("plan", "-f", "headrace.yaml")
        assert code == 0
        assert line in printed, printed
        found.add(line.rpartition("(")[2].rstrip(")"))
        (folder.path / "headrace.yaml").write_text(before)
    assert len(found) == 10, "verdicts of every sort"


def test_plan_gives_the_same_to_programs(folder: Folder) -> None:
    folder.learn()
    folder.edit(LORA)
    _, printed, _ = folder.headrace("plan", "-f", "headrace.yaml", "-o", "json")
    [desk] = [one for one in json.loads(printed) if one["action"] == "update"]
    assert desk["fields"] == [
        {"path": "learning.method", "old": "full", "new": "lora", "verdict": "needs a reset from model"}
    ]
    assert desk["resets"] == ["headrace reset StreamFinetuner/desk --from model -n default"]


def test_plan_says_what_to_type_where_a_reset_is_due(folder: Folder) -> None:
    folder.learn()
    folder.edit(LORA)
    _, printed, _ = folder.headrace("plan", "-f", "headrace.yaml")
    assert printed.splitlines()[-2:] == [
        "These changes need a reset. `headrace apply --reset` applies them and performs it:",
        "  headrace reset StreamFinetuner/desk --from model -n default",
    ]


@pytest.mark.parametrize("verb", ["apply", "run"])
def test_a_change_that_needs_a_reset_is_refused_and_nothing_of_the_resource_changes(verb: str, folder: Folder) -> None:
    folder.learn()
    before, rounds = folder.applied(), folder.rounds()
    folder.edit(LORA, BATCH)
    code, printed, said = folder.headrace(verb, "-f", "headrace.yaml")
    assert code == 2
    assert printed == ""
    assert "StreamFinetuner/desk in default was not applied" in said
    assert "learning.method: full → lora (needs a reset from model)" in said
    assert "Run it again with --reset" in said
    assert folder.applied() == before
    assert folder.rounds() == rounds


def test_apply_with_reset_applies_the_change_and_performs_the_reset(folder: Folder) -> None:
    folder.learn()
    assert folder.rounds()
    folder.edit(LORA, BATCH)
    code, printed, _ = folder.headrace("apply", "-f", "headrace.yaml", "--reset")
    assert code == 0
    assert "StreamFinetuner/desk configured" in printed
    assert folder.applied()["StreamFinetuner/default/desk"]["learning"] == {"method": "lora"}
    assert folder.rounds() is None, "the model begins again"
    folder.learn()
    assert folder.rounds() == QUESTIONS + 1, "with all examples, and the sign of their end"


def test_applied_again_with_reset_nothing_is_reset_a_second_time(folder: Folder) -> None:
    folder.learn()
    folder.edit(LORA)
    folder.headrace("apply", "-f", "headrace.yaml", "--reset")
    folder.learn()
    rounds = folder.rounds()
    assert folder.headrace("apply", "-f", "headrace.yaml", "--reset")[0] == 0
    assert folder.rounds() == rounds


@pytest.mark.slow
def test_run_with_reset_performs_it_and_runs_what_is_declared(folder: Folder) -> None:
    folder.learn()
    folder.edit(("path: out", "path: elsewhere"), LORA)
    command = [
        sys.executable,
        "-m",
        "headrace.testing.light_roles",
        "run",
        "-f",
        "headrace.yaml",
        "--until-idle",
        "--reset",
        "--port",
        "0",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder.path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert folder.applied()["StreamFinetuner/default/desk"]["learning"] == {"method": "lora"}
    assert folder.rounds() == QUESTIONS + 1
    written = [line for path in (folder.path / "elsewhere").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(written) == QUESTIONS, "the sink has written its topic again from its start"
    log = open_log(folder.state)
    assert "declaration" in {json.loads(one.value).get("kind") for one in read_all(log, "default.desk.decisions")}
    log.close()
