"""Real small checkpoints for the serving room."""

from pathlib import Path

import pytest

from headrace.models.tiny import new_checkpoint
from headrace.testing.parrot_checkpoint import new_parrot

TEXT = ["the quick brown fox jumps over the lazy dog 12 345 6789", "hello world, how are you today? fine, thank you."]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Llama of 169 k parameters."""
    path = tmp_path_factory.mktemp("tiny") / "v1"
    new_checkpoint(path, size="tiny", text=TEXT)
    return path


@pytest.fixture(scope="session")
def parrots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Versions by the one letter that each of them says."""
    root = tmp_path_factory.mktemp("parrots")
    for letter in "abcd":
        new_parrot(root / letter, letter)
    return {letter: root / letter for letter in "abcd"}
