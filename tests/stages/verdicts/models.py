"""Base models, the sources that other finetuners are, and what does nothing or acts in processes of its own."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from headrace.events import codec, topics
from headrace.events.example import Example
from headrace.events.message import Message
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, TopicSpec
from headrace.testing.resource_ids import finetuner_id

from .case import Case, Elsewhere, Setting, Still
from .house import GONE, House
from .learners import DESK, SPEC, docs, last, rows
from .queries import values
from .sinks import OUT, TO_STDOUT, captured

TINY = "BaseModel/tiny"
INFO = "baseModelServingInfo"


def _open(folder: Path, base: Path) -> House:
    """With a second base model, in the folder `other` and in the cache of a hub."""
    other = folder / "other"
    shutil.copytree(base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "comment": "other content"}))
    hub = folder / "hub" / "models--team--small"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("one")
    shutil.copytree(other, hub / "snapshots" / "one")
    os.environ["HF_HUB_CACHE"] = str(folder / "hub")
    second = {INFO: {"path": str(other)}}
    return House(
        folder,
        {**docs(base), "BaseModel/second": second},
        waits=2.0,
        ends=[_without_hub],
    )


def _without_hub() -> None:
    os.environ.pop("HF_HUB_CACHE", None)


LEARNED = Setting(_open, rows)


def _base(house: House) -> str:
    """Of the last round, by its content."""
    return last(house).options.base.name


def _another(was: Any, now: Any) -> bool:
    return was != now


TUNED = (
    Case("StreamFinetuner", "finetunerInfo.baseModel", LEARNED, {"finetunerInfo.baseModel": "second"}, _base, None, _another),
    Case("BaseModel", f"{INFO}.path", LEARNED, lambda house: {f"{INFO}.path": str(house.folder / "other")}, _base, None, _another, of=TINY),
    Case("BaseModel", f"{INFO}.hfModelId", LEARNED, {INFO: {"hfModelId": "team/small"}}, _base, None, _another, of=TINY),
)  # fmt: skip


def _chained(folder: Path, base: Path) -> House:
    """A finetuner that learns from another one's examples; a third has some, too."""
    others = docs(base)
    spec = {**SPEC, "finetunerInfo": {"baseModel": "tiny", "dataSource": {"sourceStreamFinetuner": "first"}}, "promptTemplate": [{"userQuestion": "{question}"}],
            "finetunerTemplate": {"preProcessing": {"preProcessingSQL": "SELECT question, answer, teacher FROM source_stream"}}}  # fmt: skip
    del spec["groundTruth"]
    given = {
        DESK: spec,
        "StreamFinetuner/first": SPEC,
        "StreamFinetuner/second": SPEC,
        TINY: others[TINY],
        "StreamConnector/in": others["StreamConnector/in"],
    }
    return House(folder, given, kinds=frozenset({"transform"}))


def _examples(house: House) -> None:
    for name in ("first", "second"):
        topic = topics.examples(finetuner_id(name))
        house.log.ensure_topic(TopicSpec(topic))
        example = Example(
            f"r{house.fed}", f"r{house.fed}", 0, 1, [Message("user", f"{name} {house.fed}")], "cards", "column:team"
        )
        record = NewRecord(f"{name}-{house.fed}", codec.kind_of(example), codec.encode(example), house.clock.now_ms())
        house.log.commit(Commit([Append(topic, [record])]))


def _sink(folder: Path, base: Path) -> House:
    return House(folder, {OUT: TO_STDOUT, **docs(base)}, around=captured, waits=2.0)


READ = (
    Case("StreamFinetuner", "finetunerInfo.dataSource.sourceStreamFinetuner", Setting(_chained, _examples), {"finetunerInfo.dataSource.sourceStreamFinetuner": "second"},
         lambda h: values(h, "question"), ["first 0"], ["first 0", "second 0", "second 1"]),
    Case("StreamConnector", "input.streamFinetuner", Setting(_sink, lambda house: rows(house, 2)), {"input": {"streamFinetuner": "desk", "topic": "prompts"}},
         lambda h: ["prompt" if "messages" in one else one["id"] for one in h.extra["printed"]], ["q0", "q1"], ["q0", "q1", *["prompt"] * 4]),
)  # fmt: skip
CASES = (*TUNED, *READ)


def everything(folder: Path, base: Path) -> House:
    """A resource of each kind that runs something."""
    house = _open(folder, base)
    house.docs["EmbeddingModel/words"] = {"embeddingModelServingInfo": {"path": str(base)}}
    (folder / "own.json").write_text("{}")
    kafka = {"topic": "t", "schemaRegistry": {"url": "http://127.0.0.1:1", "user": "a", "password": "b"}}
    house.docs["StreamConnector/source"] = {"type": "kafka", "kafka": {**kafka, "format": "avro"}}
    house.docs["StreamConnector/sink"] = {
        "direction": "sink",
        "type": "kafka",
        "kafka": kafka,
        "input": {"streamConnector": "source"},
    }
    return house


def change_of(one: Still | Elsewhere) -> dict[str, Any]:
    """With what must come with it."""
    info = "embeddingModelServingInfo"
    more: dict[str, Any] = {
        f"{info}.hfModelId": {f"{info}.path": GONE},
        f"{info}.modelProvider": {f"{info}.path": GONE, f"{info}.url": "http://127.0.0.1:1/v1", f"{info}.dimension": 4},
    }
    return {one.path: one.value, **more.get(one.path, {})}


_RESOURCES = ("cpu", "memory", "gpu")
_EMBEDDING = "embeddingModelServingTemplate"
_SERVING = "baseModelServingTemplate"
_LIMITS = "finetunerTemplate.finetunerResources"
STILL = (
    *(Still("BaseModel", f"{_SERVING}.resourceRequest.{name}", 2) for name in _RESOURCES),
    Still("BaseModel", f"{_SERVING}.resourceLimit.gpu", 2),
    Still("BaseModel", "baseModelName", "another"),
    Still("BaseModel", f"{INFO}.modelProvider", "HUGGINGFACE"),
    Still("BaseModel", f"{INFO}.modelProviderToken", "hf_another"),
    *(Still("EmbeddingModel", f"{_EMBEDDING}.resourceRequest.{name}", 2) for name in _RESOURCES),
    Still("EmbeddingModel", f"{_EMBEDDING}.resourceLimit.gpu", 2),
    Still("EmbeddingModel", "embeddingModelServingInfo.modelProviderToken", "hf_another"),
    *(Still("StreamFinetuner", f"{_LIMITS}.requests.{name}", 1) for name in _RESOURCES),
    Still("StreamFinetuner", f"{_LIMITS}.limits.gpu", 2),
)
"""A change is told, and no stage is opened with anything else."""
_OOM = "tests/control/test_supervisor.py::test_a_role_above_its_memory_limit_is_killed_and_its_condition_says_so"
_CORES = "tests/control/test_supervisor.py::test_a_role_gets_as_many_cores_and_threads_as_it_may_use"
_MODEL = "tests/stages/test_index.py::test_another_model_answers_for_its_own_generation_alone"
_FLINK = "tests/cluster/test_sizes.py::"
_PROCESSOR = "finetunerTemplate.dataProcessorTemplate"
ELSEWHERE = (
    Elsewhere("BaseModel", f"{_SERVING}.replicas", 3, "replicas are processes of the gateway", "tests/serving/test_replica_pool.py::test_replicas_answer_many_requests_at_once_with_the_version_each_names"),
    Elsewhere("BaseModel", f"{_SERVING}.resourceLimit.cpu", 3, "threads of the replicas' processes", "tests/serving/test_replica_pool.py::test_a_replica_computes_with_as_many_threads_as_it_may_use"),
    Elsewhere("BaseModel", f"{_SERVING}.resourceLimit.memory", "3Gi", "memory of the replicas' processes", "tests/serving/test_replica_pool.py::test_memory_beyond_the_limit_is_an_error_of_the_version_and_the_replica_lives"),
    Elsewhere("EmbeddingModel", f"{_EMBEDDING}.replicas", 3, "replicas are processes of their own", "tests/models/test_embedding_services.py::test_another_replica_answers_where_one_is_gone"),
    Elsewhere("EmbeddingModel", f"{_EMBEDDING}.resourceLimit.cpu", 3, "cores of a process of its own", _CORES),
    Elsewhere("EmbeddingModel", f"{_EMBEDDING}.resourceLimit.memory", "3Gi", "memory of a process of its own", _OOM),
    Elsewhere("EmbeddingModel", "embeddingModelServingInfo.path", "other", "the vectors are made by a process of its own", _MODEL),
    Elsewhere("EmbeddingModel", "embeddingModelServingInfo.hfModelId", "team/small", "the vectors are made by a process of its own", _MODEL),
    Elsewhere("EmbeddingModel", "embeddingModelServingInfo.modelProvider", "OPENAI", "the former vectors are made by a process of its own", _MODEL),
    Elsewhere("EmbeddingModel", "goldenQueries", "own.json", "the precision is chosen where a real model is exported", "tests/models/test_embedding.py::test_other_golden_questions_choose_the_precision_again_beside_the_former_choice"),
    Elsewhere("StreamFinetuner", f"{_PROCESSOR}.parallelism", 3, "rows do not show it", "tests/stages/test_changed_queries.py::test_other_resources_take_the_windows_of_the_query_over"),
    Elsewhere("StreamFinetuner", f"{_PROCESSOR}.flinkMemorySize", "2048m", "memory of Flink's processes", f"{_FLINK}test_memory_without_the_jvm_is_counted_without_the_jvm"),
    Elsewhere("StreamFinetuner", f"{_PROCESSOR}.managedMemorySize", "2048m", "memory of Flink's processes", f"{_FLINK}test_managed_memory_and_slots_grow_and_nothing_ever_shrinks"),
    Elsewhere("StreamFinetuner", f"{_PROCESSOR}.processMemorySize", "2048m", "memory of Flink's processes", f"{_FLINK}test_a_process_gets_the_memory_that_is_declared"),
    Elsewhere("StreamFinetuner", f"{_LIMITS}.limits.memory", "3Gi", "memory of the trainer's process", _OOM),
)  # fmt: skip
