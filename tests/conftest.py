"""Fixtures for every room's tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from hypothesis import settings

from headrace.testing.clock import VirtualClock
from headrace.testing.cluster import flink_cluster, kafka_address

__all__ = ["flink_cluster", "kafka_address"]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported: the tests' matrices lose by a second thread
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")  # the same examples on every run, however slow the machine
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests' servers speak plain HTTP or bring an authority of their own: clients need not load all of the world's, 40 ms each."""
    whole = Path(certifi.where()).read_text("utf-8")
    first = tmp_path_factory.mktemp("authorities") / "one.pem"
    first.write_text(
        whole[whole.index("-----BEGIN") : whole.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n",
        "utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(first))
        patch.setenv("SSL_CERT_FILE", str(first))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data is not here ({SHARED.name}/ beside the checkout)")
    return SHARED


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
