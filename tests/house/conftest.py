"""A role that tries again after hundredths of a second."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.control import stage_thread

from .role_beside import Role

QUICK = (0.01, 0.02, 0.04)


@pytest.fixture
def role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Role]:
    monkeypatch.setattr(stage_thread, "BACKOFF_SECONDS", QUICK)
    made = Role(tmp_path / "state")
    yield made
    made.close()
