"""The examples' YAML validates; the reference pages' own YAML plans, says why it does not run, and runs once it can."""

import shutil
from pathlib import Path

import pytest

from headrace.foundation.settings import Settings
from headrace.kinds.catalog import load
from headrace.kinds.plan import plan
from headrace.kinds.topology import topology
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.serve.options import LOOPBACK
from headrace.stages.serve.spec import gateway_options
from headrace.stages.train.options import TrainOptions
from headrace.stages.transform.options import TransformOptions

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SEED = EXAMPLES / "seed"
FOLDERS = sorted({path.parent for path in EXAMPLES.rglob("*.yaml")})


def test_there_are_examples() -> None:
    assert SEED in FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(EXAMPLES)))
def test_every_example_validates(folder: Path) -> None:
    loaded = load(sorted(folder.glob("*.yaml")))
    assert [str(mistake) for mistake in loaded.mistakes] == []
    assert loaded.resources


def test_the_seed_holds_the_values_of_its_own_tables() -> None:
    text = "\n".join(path.read_text("utf-8") for path in sorted(SEED.glob("*.yaml")))
    for value in (
        "node-1-finetuner", "llama3-8b-instruct", "event-source-connector", "node-1-kb", "azure-openai-4o", "5m", "8192m", "8000m",
        "SELECT * FROM source_stream WHERE event_time >= now() - interval '1 day';",
        "You are a Financial Analyst with specialized expertise in interpreting Open-High-Low-Close (OHLC) data.",
        "0.00005", "2023-10-01-preview", "gpt-4-deployment", "https://api.openai.com/v1", "meta-llama/Llama-3-8B", "24Gi",
        "all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2",
    ):  # fmt: skip
        assert value in text, value


def test_the_seed_plans_to_create_everything() -> None:
    changes = plan([], load([SEED]).resources)
    assert len(changes) == 7
    assert {change.action for change in changes} == {"create"}


def test_the_seed_says_why_it_does_not_run(tmp_path: Path) -> None:
    built = topology(load([SEED]).resources, Settings(), {"HF_HOME": str(tmp_path)})
    assert [(one.id.kind, one.id.name, one.reason) for one in built.not_ready] == [
        ("BaseModel", "llama3-8b-instruct", "BaseModelNotFound"),
        ("EmbeddingModel", "all-minilm-l6-v2", "EmbeddingModelNotFound"),
        ("KnowledgeBase", "node-1-kb", "EmbeddingModelNotFound"),
        ("StreamFinetuner", "node-1-finetuner", "BaseModelNotFound"),
    ]
    assert "meta-llama/Llama-3-8B is not in the local Hugging Face cache" in built.not_ready[-1].message
    assert [(note.id.kind, note.reason) for note in built.notes if note.reason != "GpuMissing"] == [
        ("StreamFinetuner", "SettingsIgnored"),
        ("StreamFinetuner", "KnowledgeUnused"),
    ]


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """The example after its README's steps."""
    folder = tmp_path / "seed"
    shutil.copytree(SEED, folder)
    model = folder / "models" / "small"
    model.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (model / name).write_text("{}", "utf-8")
    models, finetuner = folder / "models.yaml", folder / "finetuner.yaml"
    models.write_text(
        models.read_text("utf-8").replace("hfModelId: meta-llama/Llama-3-8B", "path: models/small"), "utf-8"
    )
    models.write_text(
        models.read_text("utf-8").replace('hfModelId: "sentence-transformers/all-MiniLM-L6-v2"', "path: models/small"),
        "utf-8",
    )
    text = finetuner.read_text("utf-8").replace('    megaModel: "azure-openai-4o"\n', "")
    finetuner.write_text(text + "  groundTruth: {column: direction}\n", "utf-8")
    return folder


def test_the_seed_has_all_its_stages_once_a_local_path_is_put_in(edited: Path) -> None:
    loaded = load([edited])
    assert loaded.mistakes == []
    built = topology(loaded.resources, Settings(), {})
    assert built.not_ready == ()
    assert [one.id.name for one in built.options(KnowledgeOptions)] == ["node-1-kb"]
    assert [one.id.name for one in built.options(TrainOptions)] == ["node-1-finetuner"]
    assert built.options(TrainOptions)[0].learning.learner.base == edited / "models" / "small"
    assert built.options(TransformOptions)[0].checkpoint_interval_ms == 300_000
    assert built.options(TrainOptions)[0].learning.learner.learning_rate == 5e-5
    assert [model.id.name for model in gateway_options(built.specs, LOOPBACK).models] == [
        "llama3-8b-instruct",
        "node-1-finetuner",
    ]
