"""The declarations that the tests of this folder change one thing of."""

from pathlib import Path

import pytest

from headrace.foundation.settings import Settings
from headrace.kinds.catalog import Resource, read_text


@pytest.fixture(scope="session")
def base_text() -> str:
    """Four resources without a mistake: a source, a teacher, a base model, a finetuner."""
    return (Path(__file__).parent / "base.yaml").read_text("utf-8")


@pytest.fixture
def resources(base_text: str, tmp_path: Path) -> list[Resource]:
    loaded = read_text(base_text, "base.yaml", str(tmp_path))
    assert loaded.mistakes == []
    return loaded.resources


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path / "state")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that looks like a checkpoint, where base.yaml's BaseModel points."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}", "utf-8")
    return folder
