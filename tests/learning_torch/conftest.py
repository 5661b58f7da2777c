"""A tiny model that every test here may read."""

from pathlib import Path

import pytest

from headrace.models.tiny import new_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    words = ["where is my card", "the payment failed again", "card_arrival | cards", "payment_failed | payments"]
    new_checkpoint(path, size="tiny", text=words, vocabulary=512)
    return path
