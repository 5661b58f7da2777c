"""A stage that fails is the unit of failure: its resource says so, it is tried again, and everything else goes on."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.files.source import FilesSource
from headrace.foundation.errors import FencedError
from headrace.foundation.settings import Settings
from headrace.foundation.sqlite import SqliteFile
from headrace.kinds.catalog import load
from headrace.kinds.topology import topology
from headrace.stages.stage_spec import StageSpec
from headrace.teachers.store_file import SCHEMA

from .role_beside import Role, eventually

CONNECTOR = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {{name: {name}}}
spec:
  type: file
  file: {{path: {name}.jsonl, format: json, follow: true}}
  schema: [{{name: id, type: BIGINT}}, {{name: text, type: STRING}}]
  id: [id]
"""


def line(number: int) -> str:
    return json.dumps({"id": number, "text": "x" * 50}) + "\n"


def lines(first: int, count: int) -> str:
    return "".join(line(number) for number in range(first, first + count))


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, StageSpec]:
    """Two followed files of 20 rows, and the stages that read them."""
    for name in ("good", "bad"):
        (tmp_path / f"{name}.jsonl").write_text(lines(0, 20))
    return specs_of(tmp_path, "---".join(CONNECTOR.format(name=name) for name in ("good", "bad")))


def specs_of(folder: Path, text: str) -> dict[str, StageSpec]:
    (folder / "all.yaml").write_text(text)
    loaded = load([folder / "all.yaml"])
    assert not loaded.mistakes, loaded.mistakes
    found = topology(loaded.resources, Settings(state=folder / "state"), {})
    return {one.name: one for one in found.specs}


def test_a_truncated_file_gets_a_condition_and_the_other_stream_goes_on(
    sources: dict[str, StageSpec], role: Role, tmp_path: Path
):
    role.take(list(sources.values()))
    eventually(lambda: role.events("good") == role.events("bad") == 20)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    eventually(lambda: (told := role.health("StreamConnector/default/bad", "ingest")) and "attempt 3" in told.message)
    with (tmp_path / "good.jsonl").open("a") as file:
        file.write(lines(20, 10))
    eventually(lambda: role.events("good") == 30)
    told = role.health("StreamConnector/default/bad", "ingest")
    assert told
    assert (told.type, told.status, told.reason) == ("Healthy", "False", "Final")
    assert "bad.jsonl" in told.message
    assert "headrace reset StreamConnector/bad -n default --from source" in told.message
    assert role.failing(list(sources.values())) == ["ingest/default.bad"]
    assert role.fenced == []


def test_a_mended_file_is_read_on_and_the_condition_says_so(sources: dict[str, StageSpec], role: Role, tmp_path: Path):
    role.take(list(sources.values()))
    eventually(lambda: role.events("bad") == 20)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    eventually(lambda: role.failing(list(sources.values())))
    (tmp_path / "bad.jsonl").write_text(lines(0, 25))
    eventually(lambda: role.events("bad") == 25)
    eventually(lambda: role.failing(list(sources.values())) == [])
    told = role.health("StreamConnector/default/bad", "ingest")
    assert told
    assert (told.status, told.reason) == ("True", "Running")


def test_an_unexpected_exception_is_an_internal_error_of_that_stage_alone(
    sources: dict[str, StageSpec], role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    poll = FilesSource.poll
    broken = True

    def sometimes(self: Any, max_rows: int, timeout_seconds: float) -> Any:
        if broken and self._source.id.name == "bad":
            raise ZeroDivisionError("nobody thought of this")
        return poll(self, max_rows, timeout_seconds)

    monkeypatch.setattr(FilesSource, "poll", sometimes)
    role.take(list(sources.values()))
    eventually(lambda: role.events("good") == 20)
    told = eventually(lambda: role.health("StreamConnector/default/bad", "ingest"))
    assert (told.status, told.reason) == ("False", "InternalError")
    assert "ZeroDivisionError: nobody thought of this" in told.message
    broken = False
    eventually(lambda: role.events("bad") == 20)
    eventually(lambda: role.failing(list(sources.values())) == [])


def test_only_a_fenced_stage_asks_its_process_to_end(sources: dict[str, StageSpec], role: Role, tmp_path: Path):
    role.take(list(sources.values()))
    eventually(lambda: role.events("bad") == 20)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    eventually(lambda: role.failing(list(sources.values())))
    assert role.fenced == []
    role.log.acquire_lease("ingest/default.good", "another")
    with (tmp_path / "good.jsonl").open("a") as file:
        file.write(lines(20, 10))
    eventually(lambda: role.fenced)
    assert role.threads.stop() == FencedError.exit_code
    assert role.events("good") == 20


LABELLED = """
apiVersion: llm.nstream.ai/v1
kind: MegaModel
metadata: {name: teacher}
spec:
  modelProvider: OpenAI
  modelTemplate: {openAI: {endpoint: "http://127.0.0.1:9/v1", model: judge}}
---
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {name: tiny}
spec: {baseModelName: tiny, baseModelServingInfo: {path: model}}
"""
FINETUNER = """
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {{name: {name}}}
spec:
  finetunerInfo: {{baseModel: tiny, megaModel: teacher, dataSource: {{sourceStreamConnector: good}}}}
  finetunerTemplate: {{preProcessing: {{preProcessingSQL: "SELECT id, text FROM source_stream"}}}}
  ioSequenceLength: {{inputMax: 64, outputMax: {output}}}
  promptTemplate: [{{userQuestion: "{{text}}"}}]
"""


def labels(folder: Path, *, output: int = 16) -> dict[str, StageSpec]:
    """The stages of two finetuners that ask a teacher; `output`: the first one's longest answer."""
    (folder / "model").mkdir(exist_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / "model" / name).write_text("{}")
    (folder / "good.jsonl").write_text(lines(0, 1))
    given = [CONNECTOR.format(name="good"), LABELLED, FINETUNER.format(name="one", output=output)]
    given.append(FINETUNER.format(name="other", output=16))
    found = specs_of(folder, "---".join(given))
    return {name: one for name, one in found.items() if one.kind == "label"}


def test_a_store_of_a_newer_version_stops_the_stages_that_need_it_until_it_is_replaced(role: Role, tmp_path: Path):
    path = tmp_path / "state" / "teachers.sqlite"
    SqliteFile(path, SCHEMA).prepare()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    specs = labels(tmp_path)
    role.take(list(specs.values()))
    told = eventually(lambda: role.health("StreamFinetuner/default/one", "label"))
    assert (told.status, told.reason) == ("False", "StateVersion")
    assert "teachers.sqlite" in told.message
    for file in path.parent.glob("teachers.sqlite*"):
        file.unlink()
    eventually(lambda: role.failing(list(specs.values())) == [] and role.health("StreamFinetuner/default/one", "label"))


def test_a_change_to_one_finetuner_leaves_the_others_stage_open(role: Role, tmp_path: Path):
    specs = labels(tmp_path)
    role.take(list(specs.values()))
    eventually(lambda: specs.keys() <= role.openings().keys())
    changed = labels(tmp_path, output=8)
    assert changed["label/default.one"] != specs["label/default.one"]
    assert changed["label/default.other"] == specs["label/default.other"]
    role.take(list(changed.values()))
    eventually(lambda: role.openings()["label/default.one"] == 2)
    assert role.openings()["label/default.other"] == 1
