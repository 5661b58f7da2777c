"""A tiny checkpoint that every test here may read."""

from pathlib import Path

import pytest

from headrace.models.tiny import new_checkpoint

SAMPLES = [
    "Where is my card? It should have arrived 14 days ago.",
    "My payment of 123.45 EUR failed; why?",
    "card_arrival | cards",
    "payment_failed | payments",
    '{"intent": "card_arrival", "team": "cards"}',
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    new_checkpoint(path, size="tiny", text=SAMPLES)
    return path
