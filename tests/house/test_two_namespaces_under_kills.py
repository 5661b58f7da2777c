"""The whole loop in two namespaces with the same names for everything and different data, under kills: nothing crosses.

Both ask the same questions of one provider, at one endpoint, for one model; only their keys differ, and the answers with them. So an
answer, a price or a document that crossed would be seen. Each namespace must come to what it comes to alone.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from headrace.control.report import resource_views
from headrace.control.resource_store import ResourceStore
from headrace.control.summary import summary
from headrace.control.versions import list_versions
from headrace.events import codec
from headrace.events.example import Example
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import Settings
from headrace.kinds.catalog import load
from headrace.log.registry import open_log
from headrace.models.tiny import new_checkpoint
from headrace.stages.ingest import stage as ingest
from headrace.stages.topology import Topology
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.ledger import Spending
from headrace.testing.builders import read_all
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline, declared, differences, snapshot
from headrace.testing.provider_servers import OpenAIProtocol, ProviderServer, Request
from headrace.testing.provider_servers.server import Reply

WORDS = {"red": "apple", "blue": "boat"}
ROWS = {"red": 60, "blue": 44}
KINDS = 7
YAML = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {{name: events, namespace: {namespace}}}
spec:
  type: file
  file: {{path: {namespace}.jsonl, format: json}}
  schema:
    - {{name: id, type: BIGINT}}
    - {{name: event_time, type: TIMESTAMP_LTZ(3)}}
    - {{name: text, type: STRING}}
{column}  id: [id]
  eventTime: {{column: event_time}}
  timeline: event
---
apiVersion: llm.nstream.ai/v1
kind: MegaModel
metadata: {{name: teacher, namespace: {namespace}}}
spec:
  modelProvider: OpenAI
  modelTemplate: {{openAI: {{model: test-model, endpoint: "{endpoint}", apikey: key-{namespace}}}}}
  price: {{inputPerMillion: 2.5, outputPerMillion: 10}}
---
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {{name: tiny, namespace: {namespace}}}
spec: {{baseModelName: tiny, baseModelServingInfo: {{path: model}}}}
---
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {{name: desk, namespace: {namespace}}}
spec:
  finetunerInfo: {{baseModel: tiny, megaModel: teacher, dataSource: {{sourceStreamConnector: events}}}}
  finetunerTemplate: {{preProcessing: {{preProcessingSQL: "SELECT id, event_time, text{more} FROM source_stream"}}}}
  ioSequenceLength: {{inputMax: 64, outputMax: 16}}
  promptTemplate: [{{userQuestion: "{{text}}"}}]
  timeline: event
  trainer: {{batchSize: 8, learningRate: 0.005}}
  learning: {{warmupSteps: 2}}
  promotion: {{candidateEvery: 16, maxRows: 100}}
---
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {{name: out, namespace: {namespace}}}
spec:
  direction: sink
  type: file
  file: {{path: out-{namespace}, format: json}}
  input: {{streamFinetuner: desk, topic: rows}}
"""
KILLS = (
    ("ingest.commit.after", 2), ("transform.commit.before", 2), ("prompt.commit.after", 3), ("teacher.answer.after", 5),
    ("label.commit.before", 2), ("train.commit.after", 3), ("sink.publish.before", 1), ("log.commit.within", 30),
)  # fmt: skip


class TwoKeys(OpenAIProtocol):
    """One account per namespace."""

    def refuse(self, request: Request) -> Reply | None:
        self.key = f"key-{namespace_of(request)}"
        return super().refuse(request)


def namespace_of(request: Request) -> str:
    """Whose key it bears."""
    return request.headers.get("authorization", "").removeprefix("Bearer key-")


def answer(request: Request) -> str:
    """By the key and the question."""
    found = re.search(r"\d+", request.fields()["messages"][-1]["content"])
    return f"{WORDS[namespace_of(request)]} {found.group() if found else ''}".strip()


@dataclass(frozen=True)
class World:
    """Where the inputs lie, and the provider."""

    folder: Path
    provider: ProviderServer

    def lay_out(self, folder: Path, *namespaces: str) -> Topology:
        """A job of some namespaces in a folder of its own."""
        shutil.copytree(self.folder, folder, symlinks=True)
        texts = [
            YAML.format(
                namespace=one, endpoint=self.provider.endpoint,
                column="    - {name: weight, type: DOUBLE}\n" if one == "blue" else "", more=", weight" if one == "blue" else "",
            )
            for one in namespaces
        ]  # fmt: skip
        (folder / "job.yaml").write_text("---".join(texts))
        return declared(folder / "job.yaml", folder / "state", checkpoint_interval_ms=0)

    def billed(self, namespace: str) -> int:
        return sum(namespace_of(one) == namespace for one in self.provider.billed)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world") / "inputs"
    folder.mkdir()
    for namespace, count in ROWS.items():
        rows = [
            {"id": n, "event_time": f"2026-01-01T00:00:{n % 60:02d}Z", "text": f"item {n % KINDS}", "weight": n / 2}
            for n in range(count)
        ]
        (folder / f"{namespace}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = [f"item {n} {word} {n}" for word in WORDS.values() for n in range(KINDS)]
    new_checkpoint(folder / "model", size="tiny", text=text * 5, seed=1)
    with patch.object(ingest, "MAX_ROWS", 10), ProviderServer(TwoKeys(), answer) as provider:
        yield World(folder, provider)


def pipeline(found: Topology, folder: Path, holder: str = "one") -> Pipeline:
    return Pipeline(found, folder / "state", learner=open_light_learner, holder=holder, at_most=10)


@pytest.fixture(scope="module")
def alone(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each namespace comes to by itself."""
    found: dict[str, dict[str, Any]] = {}
    for namespace in WORDS:
        folder = tmp_path_factory.mktemp(namespace) / "job"
        topology = world.lay_out(folder, namespace)
        with pipeline(topology, folder) as running:
            running.run()
        found[namespace] = snapshot(topology, folder / "state")
    return found


def run_to_death(dead: Pipeline) -> None:
    dead.open()
    dead.run()


def spent(folder: Path, namespace: str) -> Spending:
    """By the finetuner of a namespace."""
    store = AnswerStore(folder / "state" / "teachers.sqlite")
    try:
        return store.spent(ResourceId("StreamFinetuner", namespace, "desk"))
    finally:
        store._file.close()


def both(alone: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {**alone["red"], **alone["blue"]}


@pytest.mark.slow
def test_each_namespace_comes_to_what_it_comes_to_alone(world: World, alone: dict[str, dict[str, Any]], tmp_path: Path):
    assert not alone["red"].keys() & alone["blue"].keys()
    folder = tmp_path / "job"
    topology = world.lay_out(folder, "red", "blue")
    before = {namespace: world.billed(namespace) for namespace in WORDS}
    with pipeline(topology, folder) as running:
        running.run()
    assert differences(snapshot(topology, folder / "state"), both(alone)) == []
    log = open_log(folder / "state")
    for namespace, word in WORDS.items():
        records = read_all(log, f"{namespace}.desk.examples")
        answers = [codec.decode(one, Example).answer for one in records if one.kind == codec.KINDS[Example]]
        assert len(answers) == ROWS[namespace]
        assert {one.partition(" ")[0] for one in answers} == {word}
        assert spent(folder, namespace).calls == world.billed(namespace) - before[namespace]
    told = summary(log, topology)
    assert {name: one["rows"] for name, one in told["streamFinetuners"].items()} == {
        f"{namespace}/desk": count for namespace, count in ROWS.items()
    }
    assert {name: one["rows"] for name, one in told["streamConnectors"].items()} == {
        f"{namespace}/events": count for namespace, count in ROWS.items()
    }
    assert {one["namespace"] for one in list_versions(log, "red")} == {"red"}
    assert {one["namespace"] for one in list_versions(log)} == {"red", "blue"}
    ResourceStore(log).apply(load([folder / "job.yaml"]).resources, 0)
    views = {str(one.id): one.document for one in resource_views(log, Settings(state=folder / "state"))}
    for namespace, count in ROWS.items():
        assert views[f"StreamConnector/{namespace}/events"]["status"]["progress"]["ingest"]["rows"] == count
        labelled = views[f"StreamFinetuner/{namespace}/desk"]["status"]["progress"]["label"]["examples"]
        assert 0 < labelled <= count
    log.close()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "nth"), KILLS)
def test_a_kill_lets_nothing_cross(name: str, nth: int, world: World, alone: dict[str, dict[str, Any]], tmp_path: Path):
    folder = tmp_path / "job"
    topology = world.lay_out(folder, "red", "blue")
    dead = pipeline(topology, folder)
    try:
        with killing(Kill(name, nth)) as kill, pytest.raises(Killed):
            run_to_death(dead)
        assert kill.struck
        with pipeline(topology, folder, "another") as alive:
            alive.run()
        assert differences(snapshot(topology, folder / "state"), both(alone)) == []
    finally:
        dead.close()
