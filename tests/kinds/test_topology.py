"""Resources → the options of the stages."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.foundation.settings import Settings
from headrace.kinds.base_model.stages import cached
from headrace.kinds.catalog import Resource, read_text
from headrace.kinds.devices import gpu_count
from headrace.kinds.topology import topology
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.label.options import LabelOptions
from headrace.stages.prompt.options import PromptOptions
from headrace.stages.serve.options import LOOPBACK, DoorOptions, ServedModel
from headrace.stages.serve.spec import gateway_options, shared_topics
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.topology import Topology
from headrace.stages.train.options import TrainOptions
from headrace.stages.transform.options import TransformOptions
from headrace.testing.resource_ids import connector_id, finetuner_id

ENVIRON = {"THE_KEY": "sk-from-env"}


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path) -> Path:
    assert checkpoint.is_dir()
    return tmp_path


def build(text: str, folder: Path, settings: Settings, environ: dict[str, str] = ENVIRON) -> Topology:
    loaded = read_text(text, "f.yaml", str(folder))
    assert loaded.mistakes == []
    return topology(loaded.resources, settings, {"HF_HOME": str(folder / "hf"), **environ})


def test_a_finetuner_gets_every_stage(base_text: str, folder: Path, settings: Settings) -> None:
    built = build(base_text, folder, settings)
    assert built.not_ready == ()
    (ingest,), (transform,), (prompt,), (label,), (train,) = (
        built.options(IngestOptions),
        built.options(TransformOptions),
        built.options(PromptOptions),
        built.options(LabelOptions),
        built.options(TrainOptions),
    )
    assert (ingest.source.id.name, ingest.source.type, ingest.source.options) == (
        "questions",
        "file",
        {"path": "questions.jsonl"},
    )
    assert ingest.source.base_dir == folder.resolve()
    assert ingest.unique_ids
    assert ingest.source.event_time.out_of_orderness_ms == 5_000
    assert [(one.name, one.topic, str(one.origin)) for one in transform.streams] == [
        ("source_stream", "default.questions.events", "StreamConnector/default/questions")
    ]
    assert transform.checkpoint_interval_ms == train.checkpoint_interval_ms == 30_000
    assert (prompt.sample_ratio, prompt.templates[0].user_question) == (0.5, "Which intent is this? {text}")
    assert label.teacher is not None
    assert label.teacher.template == {"apikey": "sk-very-secret", "model": "gpt-4o-mini"}
    assert (label.output_max, train.learning.output_max, train.learning.input_max) == (64, 32, 256)
    learner = train.learning.learner
    assert learner.base == folder / "models" / "tiny"
    assert (learner.batch_size, learner.learning_rate, learner.method) == (16, 0.001, "full")
    assert train.metric == "exact"
    assert train.teacher == label
    assert train.limits.memory_bytes == 8 * 2**30
    assert [(str(model.id), str(model.base_model)) for model in gateway_options(built.specs, LOOPBACK).models] == [
        ("StreamFinetuner/default/desk", "BaseModel/default/tiny"),
        ("BaseModel/default/tiny", "BaseModel/default/tiny"),
    ]
    assert gateway_options(built.specs, LOOPBACK).models[0].system_context == "You sort questions."
    assert gateway_options(built.specs, LOOPBACK).models[0].limits.cpu == 2.0


def test_every_key_of_the_block_reaches_its_option(base_text: str, folder: Path, settings: Settings) -> None:
    start = base_text.index("  learning:")
    block = """  timeline: event
  learning:  {method: lora, optimizer: adamw, warmupSteps: 3, replay: {perFresh: 0.5, capacity: 7}, seed: 9}
  promotion: {metric: loss, candidateEvery: 5, alpha: 0.01, maxRows: 50, anchors: {max: 4, maxDrop: 0.5}, probationRows: 6, approval: manual, keepVersions: 2}
  teacher:   {concurrency: 2, requestsPerMinute: 30, budget: {tokens: 1000, usd: 1.5}, unavailableTimeout: 1m, maxAttempts: 3, answerCache: {keep: 2d, maxBytes: 8Mi}}
"""
    text = base_text[:start] + block
    text = text.replace(
        "useMixedPrecision: false", "useMixedPrecision: true\n    epochs: 3\n    gradientAccumulationSteps: 4"
    )
    text = text.replace(
        "      model: gpt-4o-mini\n",
        "      model: gpt-4o-mini\n  timeout: 5s\n  price: {inputPerMillion: 2.5, outputPerMillion: 10}\n",
    )
    built = build(text, folder, settings)
    (transform,), (label,), (train,) = (
        built.options(TransformOptions),
        built.options(LabelOptions),
        built.options(TrainOptions),
    )
    learning, gate = train.learning, train.gate
    learner = learning.learner
    assert transform.timeline == "event"
    assert (learner.method, learner.optimizer, learner.warmup_steps, learner.seed) == ("lora", "adamw", 3, 9)
    assert (learner.epochs, learner.gradient_accumulation_steps, learner.mixed_precision) == (3, 4, True)
    assert (learning.replay.per_fresh, learning.replay.capacity) == (0.5, 7)
    assert (train.metric, gate.candidate_every, gate.alpha, gate.max_rows) == ("loss", 5, 0.01, 50)
    assert (learning.anchors.max, gate.max_drop, gate.probation_rows) == (4, 0.5, 6)
    assert (gate.approval, train.keep_versions) == ("manual", 2)
    assert (label.concurrency, label.requests_per_minute, label.budget.tokens, label.budget.usd) == (2, 30.0, 1000, 1.5)
    assert (label.unavailable_timeout_ms, label.max_attempts) == (60_000, 3)
    assert (label.answer_cache.keep_ms, label.answer_cache.max_bytes) == (2 * 86_400_000, 8 * 2**20)
    assert label.teacher is not None
    assert (label.teacher.timeout_seconds, label.teacher.usd_per_million_input_tokens) == (5.0, 2.5)
    assert label.teacher.usd_per_million_output_tokens == 10.0


def test_ground_truth_needs_no_teacher(base_text: str, folder: Path, settings: Settings) -> None:
    text = base_text.replace("    megaModel: gpt\n", "").replace(
        "  trainer:\n", "  groundTruth: {column: category}\n  trainer:\n"
    )
    built = build(text, folder, settings)
    assert built.options(PromptOptions)[0].ground_truth_column == "category"
    assert built.options(LabelOptions)[0].teacher is None
    assert built.options(TrainOptions)[0].teacher is None


def chain(base_text: str, name: str, source: str) -> str:
    text = base_text.rpartition("---\n")[2].replace("name: desk", f"name: {name}").replace("    megaModel: gpt\n", "")
    return text.replace("sourceStreamConnector: questions", f"sourceStreamFinetuner: {source}").replace(
        "SELECT id, text, category", "SELECT question AS text, answer, teacher"
    )


def test_a_chain_reads_the_other_ones_examples(base_text: str, folder: Path, settings: Settings) -> None:
    built = build("---\n".join([base_text, chain(base_text, "a-second", "desk")]), folder, settings)
    assert built.not_ready == ()
    assert [one.id.name for one in built.options(TrainOptions)] == ["desk", "a-second"]
    second = built.options(TransformOptions)[1]
    assert [(one.name, one.topic, one.source, one.finetuner) for one in second.streams] == [
        ("source_stream", "default.desk.examples", None, finetuner_id("desk"))
    ]
    assert built.options(PromptOptions)[1].chained
    assert built.options(LabelOptions)[1].teacher is None


def test_a_chain_takes_the_disorder_of_the_connector_at_its_root(
    base_text: str, folder: Path, settings: Settings
) -> None:
    chained = [chain(base_text, "a-second", "desk"), chain(base_text, "b-third", "a-second")]
    built = build("---\n".join([base_text, *chained]), folder, settings)
    assert [
        one.streams[0].out_of_orderness_ms for one in built.options(TransformOptions) if one.streams[0].finetuner
    ] == [5_000, 5_000]


def test_a_chain_behind_what_is_not_ready_is_not_ready_with_its_reason(
    base_text: str, tmp_path: Path, settings: Settings
) -> None:
    built = build("---\n".join([base_text, chain(base_text, "second", "desk")]), tmp_path, settings)
    assert [(one.id.kind, one.id.name, one.reason) for one in built.not_ready] == [
        ("BaseModel", "tiny", "BaseModelNotFound"),
        ("StreamFinetuner", "desk", "BaseModelNotFound"),
        ("StreamFinetuner", "second", "BaseModelNotFound"),
    ]
    assert "there is no folder" in built.not_ready[2].message
    assert (
        built.options(TransformOptions)
        == built.options(TrainOptions)
        == gateway_options(built.specs, LOOPBACK).models
        == ()
    )
    assert len(built.options(IngestOptions)) == 1


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "holds no config.json"),
        ("tokenizer.json", "holds no tokenizer.json"),
        ("model.safetensors", "holds no safetensors"),
    ],
)
def test_a_checkpoint_that_lacks_a_file_is_not_ready(
    base_text: str, folder: Path, settings: Settings, missing: str, message: str
) -> None:
    (folder / "models" / "tiny" / missing).unlink()
    built = build(base_text, folder, settings)
    assert {one.reason for one in built.not_ready} == {"BaseModelNotFound"}
    assert message in built.not_ready[0].message


def test_a_hub_id_is_looked_up_in_the_local_cache_alone(base_text: str, folder: Path, settings: Settings) -> None:
    text = base_text.replace("path: models/tiny", "hfModelId: acme/small")
    built = build(text, folder, settings)
    assert "acme/small is not in the local Hugging Face cache" in built.not_ready[0].message
    repository = folder / "hf" / "hub" / "models--acme--small"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123", "utf-8")
    (repository / "snapshots").mkdir()
    (folder / "models" / "tiny").rename(repository / "snapshots" / "abc123")
    built = build(text, folder, settings)
    assert built.not_ready == ()
    assert built.options(TrainOptions)[0].learning.learner.base == repository / "snapshots" / "abc123"
    assert cached("acme/small", {"HF_HUB_CACHE": str(folder / "hf" / "hub")}) == repository / "snapshots" / "abc123"


def test_a_missing_secret_makes_its_teacher_and_its_finetuner_not_ready(
    base_text: str, folder: Path, settings: Settings
) -> None:
    text = base_text.replace("apikey: sk-very-secret", 'apikey: "${THE_KEY}"')
    built = build(text, folder, settings, {})
    assert [(one.id.kind, one.reason) for one in built.not_ready] == [
        ("MegaModel", "SecretNotFound"),
        ("StreamFinetuner", "SecretNotFound"),
    ]
    assert "the environment variable THE_KEY is not set" in built.not_ready[0].message
    built = build(text, folder, settings)
    assert built.options(LabelOptions)[0].teacher is not None
    assert built.options(LabelOptions)[0].teacher.template["apikey"] == "sk-from-env"
    assert "sk-from-env" not in repr(built)


def test_threads_follow_the_cpu_limit_and_the_machine(base_text: str, folder: Path, settings: Settings) -> None:
    import os

    cores = len(os.sched_getaffinity(0))
    for written, threads in (("500m", 1), ("1", 1), ("8000m", min(8, cores))):
        built = build(base_text.replace("{cpu: 2, memory: 8Gi}", f"{{cpu: {written}}}"), folder, settings)
        assert built.options(TrainOptions)[0].learning.learner.threads == threads
    left_out = build(base_text.replace("{cpu: 2, memory: 8Gi}", "{}"), folder, settings)
    assert left_out.options(TrainOptions)[0].learning.learner.threads == min(4, cores)
    assert left_out.options(TrainOptions)[0].limits.cpu is None


def test_a_gpu_that_is_not_there_is_a_note(base_text: str, folder: Path, settings: Settings) -> None:
    built = build(base_text.replace("{cpu: 2, memory: 8Gi}", '{cpu: 2, gpu: "99"}'), folder, settings)
    assert built.not_ready == ()
    (note,) = built.notes
    assert (note.id.kind, note.id.name, note.reason) == ("StreamFinetuner", "desk", "GpuMissing")
    assert note.message.startswith("99 gpu requested, ")


def test_devices_are_counted(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert gpu_count(tmp_path) == 2


def test_keys_without_a_meaning_on_the_engine_are_said_once(base_text: str, folder: Path, settings: Settings) -> None:
    text = base_text.replace(
        "      parallelism: 1", "      parallelism: 3\n      flinkMemorySize: 8192m\n      processMemorySize: 9g"
    )
    built = build(text, folder, settings)
    assert built.options(TransformOptions)[0].parallelism == 3
    assert built.options(TransformOptions)[0].memory_bytes is None
    assert [note.message for note in built.notes] == [
        "flinkMemorySize, processMemorySize have no effect on the duckdb engine"
    ]


KNOWLEDGE = """---
apiVersion: llm.nstream.ai/v1
kind: EmbeddingModel
metadata: {name: minilm}
spec: {embeddingModelServingInfo: {hfModelId: a/b}}
---
apiVersion: llm.nstream.ai/v1
kind: KnowledgeBase
metadata: {name: policies}
spec:
  embeddingModel: minilm
  dataSource: {sourceStreamConnector: questions}
  document: {id: id, text: text}
"""


def grounded(base_text: str) -> str:
    return base_text.replace("    megaModel: gpt\n", "    megaModel: gpt\n    knowledgeBase: policies\n") + KNOWLEDGE


def test_a_knowledge_base_is_kept_by_index_and_reaches_prompt_train_and_serve(
    base_text: str, folder: Path, settings: Settings
) -> None:
    text = grounded(base_text).replace("{text}", "{knowledge} {text}").replace("hfModelId: a/b", "path: models/tiny")
    built = build(text, folder, settings)
    assert built.not_ready == ()
    (base,) = built.options(KnowledgeOptions)
    assert (base.id.name, base.source) == ("policies", connector_id("questions"))
    assert (base.columns.id, base.columns.text) == ("id", "text")
    assert (base.mode, base.limit, base.target_ms, base.store, base.finetuners) == (
        "hybrid",
        5,
        2_000,
        "sqlite",
        (finetuner_id("desk"),),
    )
    assert [(one.id.name, one.folder) for one in built.options(EmbedOptions)] == [
        ("minilm", folder / "models" / "tiny")
    ]
    doors = gateway_options(built.specs, LOOPBACK)
    assert doors.embed == built.options(EmbedOptions)
    assert doors.knowledge == built.options(KnowledgeOptions)
    assert built.options(PromptOptions)[0].knowledge == built.options(TrainOptions)[0].knowledge == base
    assert (doors.models[0].knowledge, doors.models[0].user_question) == (
        base,
        "Which intent is this? {knowledge} {text}",
    )


def test_a_source_keeps_the_newest_record_of_each_document_of_its_knowledge_bases(
    base_text: str, folder: Path, settings: Settings
) -> None:
    other = KNOWLEDGE.split("---")[2].replace("policies", "others").replace("{id: id,", "{id: text,")
    [plain] = build(base_text, folder, settings).options(IngestOptions)
    [one] = build(grounded(base_text), folder, settings).of_kind("ingest")
    [both] = build(f"{grounded(base_text)}---{other}", folder, settings).options(IngestOptions)
    assert plain.documents_by == ()
    assert isinstance(one.options, IngestOptions)
    assert one.options.documents_by == ("id",)
    assert [topic.compacted for topic in one.writes] == [True, False], "events, and no dead letters"
    assert both.documents_by == ("id", "text")


def test_what_a_namespace_shares_is_kept_as_long_as_one_of_its_finetuners_wants(
    base_text: str, folder: Path, settings: Settings
) -> None:
    def shared(desk: str, other: str) -> tuple[list[int | None], list[str]]:
        first = base_text.replace("    metric: exact\n", f"    metric: exact\n  retention: {{{desk}}}\n")
        second = first.rpartition("---")[2].replace("name: desk", "name: other").replace(f"{{{desk}}}", f"{{{other}}}")
        built = build(f"{first}---{second}", folder, settings)
        kept = [one.retention_ms for one in shared_topics("default", built.options(ServedModel))]
        return kept, [f"{note.id.name}: {note.message}" for note in built.notes]

    day = 86_400_000
    assert shared("answers: 1d, feedback: 2d", "answers: 3d, feedback: 2d") == (
        [3 * day, 2 * day],
        [
            "desk: retention.answers cannot act: StreamFinetuner/other declares a longer time for topics that the namespace shares",
        ],
    )
    assert shared("answers: 1d", "scores: 1d") == (
        [None, None],
        [
            "desk: retention.answers cannot act: StreamFinetuner/other declares a longer time for topics that the namespace shares"
        ],
    )


def test_a_folder_of_documents_is_kept_for_the_knowledge_base_that_is_yet_to_come(
    folder: Path, settings: Settings
) -> None:
    text = """apiVersion: llm.nstream.ai/v1
kind: StreamConnector
metadata: {name: docs}
spec: {type: documents, documents: {path: docs}}
"""
    assert [one.documents_by for one in build(text, folder, settings).options(IngestOptions)] == [("path",)]


def test_a_knowledge_base_without_its_models_weights_is_not_ready_and_whoever_needs_it_neither(
    base_text: str, folder: Path, settings: Settings
) -> None:
    built = build(grounded(base_text), folder, settings)
    assert [(one.id.kind, one.reason) for one in built.not_ready] == [
        ("EmbeddingModel", "EmbeddingModelNotFound"),
        ("KnowledgeBase", "EmbeddingModelNotFound"),
    ]
    assert [(note.id.kind, note.reason) for note in built.notes] == [("StreamFinetuner", "KnowledgeUnused")]
    assert len(built.options(TrainOptions)) == 1
    built = build(grounded(base_text).replace("{text}", "{text} {knowledge}"), folder, settings)
    assert ("StreamFinetuner", "EmbeddingModelNotFound") in [(one.id.kind, one.reason) for one in built.not_ready]
    assert built.options(TrainOptions) == ()


def test_a_service_embeds_where_it_is_declared(base_text: str, folder: Path, settings: Settings) -> None:
    service = (
        "{modelProvider: OPENAI, url: 'http://embed:9000/v1/', apikey: '${THE_KEY}', model: small, dimension: 256}"
    )
    built = build(grounded(base_text).replace("{hfModelId: a/b}", service), folder, settings)
    (model,) = gateway_options(built.specs, LOOPBACK).embed
    assert built.options(EmbedOptions) == ()
    assert (model.url, model.api_key, model.remote_model, model.dimension, model.folder) == (
        "http://embed:9000/v1",
        "sk-from-env",
        "small",
        256,
        None,
    )
    assert "sk-from-env" not in repr(built)


CATEGORIES = """---
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: categories}
spec:
  type: file
  file: {path: categories.csv}
  schema: [{name: category, type: STRING}, {name: team, type: STRING}, {name: since, type: TIMESTAMP_LTZ(3)}]
  key: category
  table: {validFrom: since}
"""


def test_a_table_is_joined_and_not_taken_in(base_text: str, folder: Path, settings: Settings) -> None:
    query = "SELECT id, text, team\n      FROM source_stream s\n      JOIN categories c ON s.category = c.category\n"
    text = base_text.replace("SELECT id, text, category\n      FROM source_stream\n", query) + CATEGORIES
    built = build(text, folder, settings)
    assert built.not_ready == ()
    assert [one.source.id.name for one in built.options(IngestOptions)] == ["questions"]
    assert [(one.name, one.valid_from, one.source.key) for one in built.options(TransformOptions)[0].tables] == [
        ("categories", "since", ("category",))
    ]


SINKS = [
    ("{streamFinetuner: desk}", "default.desk.rows"),
    ("{streamFinetuner: desk, topic: examples}", "default.desk.examples"),
    ("{streamFinetuner: desk, topic: dead.label}", "default.desk.dead.label"),
    ("{streamConnector: questions}", "default.questions.events"),
    ("{streamConnector: questions, topic: dead}", "default.questions.dead"),
    ("{topic: answers}", "default.answers"),
]


@pytest.mark.parametrize(("written", "topic"), SINKS)
def test_a_sink_writes_the_topic_that_its_input_names(
    base_text: str, folder: Path, settings: Settings, written: str, topic: str
) -> None:
    sink = f"---\napiVersion: llm.nstream.ai/v1\nkind: StreamConnector\nmetadata: {{name: out}}\nspec: {{direction: sink, type: file, file: {{path: out}}, input: {written}}}\n"
    built = build(base_text + sink, folder, settings)
    assert [(one.sink.id.name, one.topic, one.sink.options) for one in built.options(SinkStageOptions)] == [
        ("out", topic, {"path": "out"})
    ]


def test_a_sinks_secrets_are_resolved_and_not_shown(base_text: str, folder: Path, settings: Settings) -> None:
    sink = """---
apiVersion: llm.nstream.ai/v1
kind: StreamConnector
metadata: {name: out}
spec:
  direction: sink
  type: webhook
  webhook: {url: "https://example.com/in", headers: {Authorization: "Bearer ${THE_KEY}", X-Team: {file: team.txt}}}
  input: {streamFinetuner: desk}
"""
    (folder / "team.txt").write_text("blue", "utf-8")
    built = build(base_text + sink, folder, settings)
    headers = {"Authorization": "Bearer sk-from-env", "X-Team": "blue"}
    assert built.options(SinkStageOptions)[0].sink.options == {"url": "https://example.com/in", "headers": headers}
    resource = read_text(base_text + sink, "f.yaml", str(folder)).resources[-1]
    assert resource.shown()["spec"]["webhook"]["headers"] == {
        "Authorization": "**********",
        "X-Team": {"file": "team.txt"},
    }
    assert [one.id.name for one in build(base_text + sink, folder, settings, {}).not_ready] == ["out"]


def test_a_sink_of_what_is_not_ready_is_not_ready(base_text: str, tmp_path: Path, settings: Settings) -> None:
    sink = "---\napiVersion: llm.nstream.ai/v1\nkind: StreamConnector\nmetadata: {name: out}\nspec: {direction: sink, type: file, file: {path: out}, input: {streamFinetuner: desk}}\n"
    built = build(base_text + sink, tmp_path, settings)
    assert built.options(SinkStageOptions) == ()
    assert "out" in {one.id.name for one in built.not_ready}


def test_the_order_of_the_files_does_not_matter(resources: list[Resource], folder: Path, settings: Settings) -> None:
    assert folder.is_dir()
    assert topology(resources, settings, ENVIRON) == topology(reversed(resources), settings, ENVIRON)


def test_namespaces_do_not_see_each_other(base_text: str, folder: Path, settings: Settings) -> None:
    other = re.sub(r"\nmetadata:\n", "\nmetadata:\n  namespace: other\n", base_text)
    built = build("---\n".join([base_text, other]), folder, settings)
    assert [(one.id.namespace, one.streams[0].topic) for one in built.options(TransformOptions)] == [
        ("default", "default.questions.events"),
        ("other", "other.questions.events"),
    ]
    moved = [
        replace(one, namespace="third") if one.kind == "BaseModel" else one
        for one in read_text(base_text, "f", str(folder)).resources
    ]
    assert [(one.id.name, one.reason) for one in topology(moved, settings, ENVIRON).not_ready] == [
        ("desk", "BaseModelNotFound")
    ]


def test_the_key_of_the_doors_is_never_shown(base_text: str, folder: Path, settings: Settings) -> None:
    built = gateway_options(build(base_text, folder, settings).specs, DoorOptions("10.0.0.1", 8080, "very-secret"))
    assert (built.host, built.port, built.api_key) == ("10.0.0.1", 8080, "very-secret")
    assert "very-secret" not in repr(built)
