"""`kill -9` of a process that indexes, eight times at random moments of its work: both back ends hold what their topic says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.testing.index_kills import Killing, Order
from headrace.testing.postgres_server import postgres_server, skip_where_absent

KILLS = 8


@pytest.fixture
def url(store: str) -> Iterator[str]:
    if store == "sqlite":
        yield ""
        return
    skip_where_absent()
    with postgres_server() as server:
        yield server.url()


@pytest.mark.kill
@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_kills_at_random_moments_change_nothing_and_nothing_kept_is_embedded_again(
    store: str, url: str, tmp_path: Path
) -> None:
    killing = Killing(Order(tmp_path / "state", tmp_path / "journal", store, url), seed=5)
    killing.kill(KILLS)
    found = killing.finish(moments=4)
    assert found.differences == []
    assert found.embedded_though_kept == 0
    assert found.kills == KILLS
    assert found.generations > 1
    assert found.dead > 0
