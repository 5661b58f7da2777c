"""`kill -9` of a process that indexes, eight times at random moments of its work: both back ends hold what their topic says."""

import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog
from headrace.stages.index.stage import IndexStage
from headrace.testing.builders import read_all
from headrace.testing.index_kills import (
    DEAD,
    OPTIONS,
    History,
    JournalEmbedder,
    Killing,
    Ledger,
    Order,
    append_rows,
    differences,
    expected,
    open_for_reading,
)
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
@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
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


def indexed(folder: Path, rows: int) -> tuple[Order, TopicLog]:
    """A knowledge base that came to its end undisturbed, in this process."""
    order = Order(folder / "state", folder / "journal")
    log = open_log(order.state)
    append_rows(log, History(1).rows(rows), 1_700_000_000_000, random.Random(1))
    embedder = JournalEmbedder(order.journal)
    with closing(embedder), closing(IndexStage(OPTIONS, log, "test", order.state, embedder=embedder)) as stage:
        while stage.step():
            pass
    return order, log


def test_what_is_embedded_again_is_told_apart_by_whether_it_was_kept(tmp_path: Path) -> None:
    order, log = indexed(tmp_path, 10)
    with closing(log), closing(open_for_reading(order)) as store, closing(JournalEmbedder(order.journal)) as embedder:
        ledger = Ledger(order.journal, embedder.fingerprint)
        ledger.settle(store)
        kept = expected(log, store.generations()).chunks
        assert (ledger.twice(kept), ledger.again.total()) == (0, 0)
        (text, *_) = json.loads(order.journal.read_text().splitlines()[0])
        for texts in ([text, "never kept"], ["never kept"]):
            embedder.embed(texts)
            ledger.settle(store)
        assert set(ledger.again) == {derive_id("chunk", text)} <= kept
        assert ledger.twice([derive_id("chunk", "never kept")]) == 1


def test_a_row_that_was_passed_over_and_a_letter_too_many_are_seen(tmp_path: Path) -> None:
    order, log = indexed(tmp_path, 60)
    with closing(log), closing(open_for_reading(order)) as store:
        assert differences(log, store, expected(log, store.generations()), []) == []
        letter = read_all(log, DEAD)[0]
        log.commit(Commit([Append(DEAD, [NewRecord("other", letter.kind, letter.value, letter.event_time)])]))
        assert differences(log, store, expected(log, store.generations()), []) == ["1 dead letters other"]
        row = {"path": "new.md", "body": "one more than was indexed", "version": 1}
        append_rows(log, [row], 1_700_000_001_000, random.Random(1))
        lines = differences(log, store, expected(log, store.generations()), [])
        assert "60 of 61 rows were read" in lines
        assert any("new.md is None and should be" in line for line in lines)
        assert any("counts" in line for line in lines)
