"""The store of answers stays within its bounds, and an older file keeps its accounts."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headrace.foundation.resource_id import ResourceId
from headrace.teachers.answer_cache import AskRecord, Keep, StoredAnswer
from headrace.teachers.answer_store import AnswerStore, forget
from headrace.teachers.ledger import Budget, Cost, Spending
from headrace.teachers.teacher import RefusedError

F = ResourceId("StreamFinetuner", "default", "f")
G = F.sibling("StreamFinetuner", "g")
DAY = 86_400_000
ONE = Cost(1, 2, 3)
FORMER_VERSION = """
CREATE TABLE answers (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, finetuner TEXT NOT NULL, ask_id TEXT NOT NULL, text TEXT NOT NULL,
  model TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
  answered_at_ms INTEGER NOT NULL);
CREATE INDEX answers_by_key ON answers (key, id);
CREATE INDEX answers_by_ask ON answers (finetuner, ask_id, key) WHERE ask_id <> '';
CREATE TABLE reservations (
  id INTEGER PRIMARY KEY AUTOINCREMENT, finetuner TEXT NOT NULL, input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL, reserved_at_ms INTEGER NOT NULL);
CREATE TABLE spending (
  finetuner TEXT PRIMARY KEY, calls INTEGER NOT NULL DEFAULT 0, cached INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
  nano_usd INTEGER NOT NULL DEFAULT 0, open_reservations INTEGER NOT NULL DEFAULT 0,
  open_tokens INTEGER NOT NULL DEFAULT 0, open_nano_usd INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO answers VALUES (1, 'k', 'default/f', 'p1', 'x', 'm', 7, 3, 20, 1);
INSERT INTO reservations VALUES (1, 'default/f', 4, 8, 30, 1000);
INSERT INTO spending VALUES ('default/f', 2, 1, 14, 6, 40, 1, 12, 30);
"""
DOCUMENTS = {
    1: """CREATE TABLE citations (cite TEXT NOT NULL, answer_id INTEGER NOT NULL, PRIMARY KEY (cite, answer_id)) WITHOUT ROWID;
          CREATE TABLE forgotten (cite TEXT PRIMARY KEY) WITHOUT ROWID;
          INSERT INTO citations VALUES ('doc@1', 1);""",
    2: """CREATE TABLE citations (document TEXT NOT NULL, version TEXT NOT NULL, answer_id INTEGER NOT NULL,
          PRIMARY KEY (document, version, answer_id)) WITHOUT ROWID;
          CREATE INDEX citations_by_answer ON citations (answer_id);
          CREATE TABLE current_versions (
          finetuner TEXT NOT NULL, document TEXT NOT NULL, version TEXT, PRIMARY KEY (finetuner, document)) WITHOUT ROWID;
          INSERT INTO current_versions VALUES ('default/f', 'doc', '2');""",
}


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_a_version_before_keeps_spending_and_drops_answers_that_nobody_can_attribute(
    store_path: Path, version: int
):
    store_path.parent.mkdir()
    with closing(sqlite3.connect(store_path)) as db:
        db.executescript(f"{FORMER_VERSION}{DOCUMENTS[version]}PRAGMA user_version = {version};")

    async def main() -> tuple[Spending, Spending]:
        store = AnswerStore(store_path)
        before = store.spent(F)
        assert store.given(AskRecord("k", F, "p1")) is None
        assert store.cached(AskRecord("k", F)) is None
        assert await store.reconcile(1000 + 599_999) == 0
        assert await store.reconcile(1000 + 600_000) == 1
        reservation = await store.reserve(F, ONE, Budget(), 0, 10)
        await store.settle(reservation, AskRecord("n", F, "p2", (("doc", "1"),)), StoredAnswer("y", "m", ONE), 0)
        assert (store.cached(AskRecord("n", F)) is None) == (version == 2), "version 2 knows that doc is at 2"
        after = store.spent(F)
        await store.close()
        return before, after

    before, after = asyncio.run(main())
    assert (before.calls, before.cached, before.open_reservations, before.open_tokens) == (2, 1, 1, 12)
    assert (after.calls, after.open_reservations, after.killed_calls, after.lost_tokens) == (3, 0, 1, 12)


async def kept(store: AnswerStore, owner: ResourceId, places: range) -> list[int]:
    return [place for place in places if store.given(AskRecord(f"k{place}", owner, f"p{place}")) is not None]


async def fill(store: AnswerStore, owner: ResourceId, places: range, text: str = "x" * 10) -> None:
    """One answer a day."""
    for place in places:
        reservation = await store.reserve(owner, ONE, Budget(), place * DAY, place * DAY + 1)
        ask = AskRecord(f"k{place}", owner, f"p{place}", (("doc", "1"),), place)
        await store.settle(reservation, ask, StoredAnswer(text, "m", ONE), place * DAY)


@pytest.mark.parametrize(
    ("keep", "committed", "left"),
    [
        (Keep(age_ms=4 * DAY), 10, [6, 7, 8, 9]),
        (Keep(bytes=30), 10, [7, 8, 9]),
        (Keep(age_ms=2 * DAY), 5, [5, 6, 7, 8, 9]),
        (Keep(bytes=0), 5, [5, 6, 7, 8, 9]),
        (Keep(), 10, list(range(10))),
    ],
)
def test_answers_of_committed_prompts_go_by_age_and_by_bytes_and_no_others(
    store_path: Path, keep: Keep, committed: int, left: list[int]
):
    async def main() -> None:
        store = AnswerStore(store_path)
        for owner in (F, G):
            await fill(store, owner, range(10))
        assert await store.prune(F, committed, keep, 9 * DAY + DAY // 2) == 10 - len(left)
        assert await kept(store, F, range(10)) == left
        assert await kept(store, G, range(10)) == list(range(10))
        assert store.spent(F).calls == 10
        cites = store._file.reader.execute("SELECT COUNT(*) FROM citations").fetchone()[0]
        assert cites == 10 + len(left)
        await store.close()

    asyncio.run(main())


def test_more_answers_than_one_transaction_takes_are_pruned(store_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("headrace.teachers.answer_cache.PRUNED_AT_ONCE", 3)

    async def main() -> int:
        store = AnswerStore(store_path)
        await fill(store, F, range(10))
        pruned = await store.prune(F, 10, Keep(bytes=0), 10 * DAY)
        await store.close()
        return pruned

    assert asyncio.run(main()) == 10


def test_an_answer_without_a_place_is_kept_for_a_day_in_any_case(store_path: Path):
    async def main() -> list[bool]:
        store = AnswerStore(store_path)
        reservation = await store.reserve(F, ONE, Budget(), 0, 10)
        ask = AskRecord("k", F, "again/1")
        await store.settle(reservation, ask, StoredAnswer("x", "m", ONE), 0)
        found: list[bool] = []
        for now in (DAY - 1, DAY):
            await store.prune(F, 0, Keep(bytes=0), now)
            found.append(store.given(ask) is not None)
        await store.close()
        return found

    assert asyncio.run(main()) == [True, False]


@pytest.mark.parametrize("spending", [True, False])
def test_a_reset_forgets_one_owner_s_answers_and_a_purge_its_accounts_too(store_path: Path, spending: bool):
    async def use(work):
        store = AnswerStore(store_path)
        result = await work(store)
        await store.close()
        return result

    async def write(store: AnswerStore) -> None:
        await fill(store, F, range(3))
        await fill(store, G, range(3))

    async def read(store: AnswerStore):
        return await kept(store, F, range(3)), await kept(store, G, range(3)), store.spent(F).calls

    asyncio.run(use(write))
    assert forget(store_path, F, spending=spending) == 30
    assert asyncio.run(use(read)) == ([], [0, 1, 2], 0 if spending else 3)
    assert forget(store_path.with_name("none.sqlite"), F, spending=True) == 0


def test_a_refusal_that_was_paid_for_is_found_again_by_its_ask_alone(store_path: Path):
    async def main() -> None:
        store = AnswerStore(store_path)
        reservation = await store.reserve(F, ONE, Budget(), 0, 10)
        error = RefusedError("no", where="MegaModel/m", next_step="shorten it")
        await store.settle_error(reservation, AskRecord("k", F, "p1"), error, ONE, 0)
        found = store.given(AskRecord("k", F, "p1"))
        assert isinstance(found, RefusedError)
        assert str(found) == str(error)
        assert store.given(AskRecord("k", F, "p2")) is store.cached(AskRecord("k", F)) is None
        assert store.spent(F).calls == 1
        await store.close()

    asyncio.run(main())
