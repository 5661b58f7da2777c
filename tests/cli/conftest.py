"""A small desk that learns 240 labelled questions: run once, then looked at from all sides."""

import csv
import gzip
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SUPPORT = Path(__file__).resolve().parents[2] / "examples" / "support"
QUESTIONS = 240
YAML = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: questions}
spec:
  direction: source
  type: file
  file: {path: questions.jsonl, format: json}
  schema:
    - {name: id, type: STRING}
    - {name: event_time, type: TIMESTAMP_LTZ(3)}
    - {name: text, type: STRING}
    - {name: category, type: STRING}
  id: [id]
  eventTime: {column: event_time}
  timeline: event
---
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {name: tiny}
spec: {baseModelName: tiny, baseModelServingInfo: {path: model}}
---
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {name: desk}
spec:
  finetunerInfo: {baseModel: tiny, dataSource: {sourceStreamConnector: questions}}
  finetunerTemplate:
    dataProcessorTemplate: {checkpointingInterval: 1s}
    finetunerResources: {limits: {cpu: "1"}}
    preProcessing: {preProcessingSQL: "SELECT id, text, category FROM source_stream"}
  ioSequenceLength: {inputMax: 160, outputMax: 16}
  promptTemplate: [{systemContext: "You sort questions.", userQuestion: "{text}"}]
  trainer: {batchSize: 8, learningRate: 0.005}
  groundTruth: {column: category}
  timeline: event
  promotion: {candidateEvery: 64}
---
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: results}
spec:
  direction: sink
  type: file
  file: {path: out, format: json}
  input: {streamFinetuner: desk, topic: scores}
"""


def headrace(
    *arguments: str, cwd: Path, check: int | None = 0, timeout: float = 200
) -> subprocess.CompletedProcess[str]:
    """Runs the console script as a user would, without the MLflow mirror."""
    environment = {**os.environ, "HEADRACE_TRACKING": "none", "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).parent / "headrace"), *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert check is None or done.returncode == check, done.stderr
    return done


def recorded_questions(count: int) -> list[dict[str, str]]:
    with gzip.open(SUPPORT / "data" / "banking77-20-labels.csv.gz", "rt", encoding="utf-8", newline="") as file:
        intents = {line["text"]: line["intent"] for line in csv.DictReader(file)}
    with gzip.open(SUPPORT / "data" / "banking77-20.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    return [{**row, "category": intents[row["text"]]} for row in rows]


@dataclass(frozen=True)
class Desk:
    """A folder with a declaration and a state that has learned it."""

    folder: Path
    summary: dict[str, Any]

    def run(self, *arguments: str, check: int = 0) -> subprocess.CompletedProcess[str]:
        """A command in the folder; `check`: the exit code that it must have."""
        return headrace(*arguments, cwd=self.folder, check=check)


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    rows = recorded_questions(QUESTIONS)
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "headrace.yaml").write_text(YAML)
    headrace("models", "new", "model", "--size", "tiny", "--text", "questions.jsonl", cwd=folder)
    done = headrace("run", "-f", "headrace.yaml", "--until-idle", "-o", "json", "--port", "0", cwd=folder)
    return Desk(folder, json.loads(done.stdout))
