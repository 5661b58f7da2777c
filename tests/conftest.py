"""Fixtures for every room's tests."""

from pathlib import Path

import pytest

from headrace.testing.clock import VirtualClock

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data is not here ({SHARED.name}/ beside the checkout)")
    return SHARED


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
