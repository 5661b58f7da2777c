"""A job with one source and one finetuner, small enough to be spoiled in every way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from headrace.events import codec
from headrace.events.dead_letter import DeadLetter
from headrace.foundation.clock import Clock
from headrace.log.record import Record
from headrace.log.topic_log import TopicLog
from headrace.models.tiny import new_checkpoint
from headrace.stages.ingest import stage as ingest
from headrace.stages.topology import Topology
from headrace.testing.builders import read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline, declared

JOB = """
apiVersion: llm.nstream.ai/v1
kind: StreamConnector
metadata: {name: questions}
spec:
  type: file
  file: {path: questions.jsonl, format: json}
  schema:
    - {name: id, type: STRING}
    - {name: event_time, type: TIMESTAMP_LTZ(3)}
    - {name: text, type: STRING}
    - {name: amount, type: BIGINT}
    - {name: team, type: STRING}
  id: [id]
  eventTime: {column: event_time}
---
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {name: tiny}
spec:
  baseModelName: tiny
  baseModelServingInfo: {path: model}
---
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {name: desk}
spec:
  finetunerInfo: {baseModel: tiny, dataSource: {sourceStreamConnector: questions}}
  finetunerTemplate:
    preProcessing: {preProcessingSQL: "SELECT id, event_time, text, amount, team FROM source_stream"}
  ioSequenceLength: {inputMax: 64, outputMax: 4}
  promptTemplate: [{userQuestion: "{text}"}]
  groundTruth: {column: team}
  trainer: {batchSize: 8, learningRate: 0.005}
  promotion: {candidateEvery: 64, anchors: {max: 4}}
"""
TEACHER = """
---
apiVersion: llm.nstream.ai/v1
kind: MegaModel
metadata: {name: desk-lead}
spec:
  modelProvider: OpenAI
  modelTemplate:
    openAI: {apikey: KEY, model: MODEL, endpoint: "ENDPOINT"}
"""


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    new_checkpoint(folder, size="tiny", text=["where is my card", "cards", "desk", "0 1 2 3 4 5 6 7 8 9"] * 5, seed=1)
    return folder


@pytest.fixture
def folder(tmp_path: Path, base: Path) -> Path:
    """The job's folder; the test writes `questions.jsonl`."""
    (tmp_path / "model").symlink_to(base)
    (tmp_path / "job.yaml").write_text(JOB, "utf-8")
    return tmp_path


def ask_teacher(
    folder: Path, endpoint: str, *, key: str = "none", model: str = "desk-lead", timeout: str = "10m"
) -> None:
    """Lets a teacher answer in place of the column."""
    text = JOB.replace("  groundTruth: {column: team}\n", f"  teacher: {{unavailableTimeout: {timeout}}}\n")
    text = text.replace(
        "sourceStreamConnector: questions}}", "sourceStreamConnector: questions}, megaModel: desk-lead}"
    )
    text += TEACHER.replace("KEY", key).replace("MODEL", model).replace("ENDPOINT", endpoint)
    (folder / "job.yaml").write_text(text, "utf-8")


@pytest.fixture
def with_teacher() -> Callable[..., None]:
    return ask_teacher


@pytest.fixture(autouse=True)
def small_polls() -> Iterator[None]:
    with patch.object(ingest, "MAX_ROWS", 40):
        yield


Run = Callable[..., dict[str, list[Record]]]


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs the job to its end: every topic."""

    def to_the_end(holder: str = "one", clock: Clock | None = None) -> dict[str, list[Record]]:
        with open_pipeline(folder, holder, clock or VirtualClock(now_ms=1_700_000_000_000)) as pipeline:
            pipeline.run()
            return contents(pipeline.log)

    return to_the_end


@pytest.fixture
def opened(folder: Path) -> Callable[..., Pipeline]:
    here = folder

    def lay_open(holder: str = "one", clock: Clock | None = None, folder: Path | None = None) -> Pipeline:
        return open_pipeline(folder or here, holder, clock or VirtualClock(now_ms=1_700_000_000_000))

    return lay_open


def open_pipeline(folder: Path, holder: str, clock: Clock) -> Pipeline:
    return Pipeline(
        topology_of(folder), folder / "state", learner=open_light_learner, clock=clock, holder=holder, at_most=50
    )


def topology_of(folder: Path) -> Topology:
    return declared(folder / "job.yaml", folder / "state", checkpoint_interval_ms=0)


@pytest.fixture
def topology(folder: Path) -> Callable[[], Topology]:
    return lambda: topology_of(folder)


def contents(log: TopicLog) -> dict[str, list[Record]]:
    """By the last parts of the topics' names, controls left out."""
    return {
        info.spec.name.removeprefix("default."): [r for r in read_all(log, info.spec.name) if r.kind != codec.CONTROL]
        for info in log.topics()
    }


@pytest.fixture
def letters() -> Callable[[list[Record]], list[DeadLetter]]:
    return lambda records: [codec.decode(record, DeadLetter) for record in records]
