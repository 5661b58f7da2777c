"""The store of answers: its file, its errors, its grouped commits."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.foundation.errors import CorruptDataError, DiskFullError, StateVersionError, UnavailableError
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.answer_cache import AskRecord, StoredAnswer
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.ledger import Budget, Cost

F = ResourceId("StreamFinetuner", "default", "f")
ONE = Cost(1, 2, 3)
NO_LIMIT = Budget()


def test_the_file_is_as_durable_as_the_log(store_path: Path):
    store = AnswerStore(store_path)
    assert store._file.writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._file.writer.execute("PRAGMA synchronous").fetchone() == (2,)
    asyncio.run(store.close())


def test_asks_at_the_same_time_share_transactions(store_path: Path):
    async def main() -> int:
        store = AnswerStore(store_path)
        statements: list[str] = []
        store._file.writer.set_trace_callback(statements.append)
        await asyncio.gather(*(store.reserve(F, ONE, NO_LIMIT, 0, 1_000) for _ in range(200)))
        assert store.spent(F).open_reservations == 200
        await store.close()
        return statements.count("COMMIT")

    assert asyncio.run(main()) <= 3


def test_everything_that_was_asked_for_is_written_before_closing(store_path: Path):
    async def main() -> None:
        store = AnswerStore(store_path)
        tasks = [asyncio.create_task(store.count_cached(F)) for _ in range(50)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*tasks)
        await store.close()

    asyncio.run(main())
    store = AnswerStore(store_path)
    assert store.spent(F).cached == 50
    asyncio.run(store.close())


def test_a_closed_store_says_so(store_path: Path):
    async def main() -> None:
        store = AnswerStore(store_path)
        await store.close()
        with pytest.raises(RuntimeError, match="closed"):
            await store.count_cached(F)

    asyncio.run(main())


def test_a_cancelled_asker_who_never_called_gives_the_reservation_back(store_path: Path):
    async def main() -> None:
        store = AnswerStore(store_path)
        task = asyncio.create_task(store.reserve(F, ONE, NO_LIMIT, 0, 1_000))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.close()

    asyncio.run(main())
    store = AnswerStore(store_path)
    assert store.spent(F).open_reservations == 0
    asyncio.run(store.close())


def test_settling_twice_counts_once(store_path: Path):
    async def main() -> None:
        store = AnswerStore(store_path)
        reservation = await store.reserve(F, ONE, NO_LIMIT, 0, 1_000)
        answer = StoredAnswer("x", "m", ONE)
        await store.settle(reservation, AskRecord("k", F), answer, 0)
        await store.settle(reservation, AskRecord("k", F), answer, 0)
        await store.release(reservation)
        await store.lose(reservation)
        spent = store.spent(F)
        assert (spent.calls, spent.open_reservations, spent.open_tokens) == (1, 0, 0)
        await store.close()

    asyncio.run(main())


def test_a_file_of_a_newer_version_is_left_alone(store_path: Path):
    asyncio.run(AnswerStore(store_path).close())
    with sqlite3.connect(store_path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateVersionError, match="schema 99"):
        AnswerStore(store_path)


def test_a_file_that_is_no_database_is_reported_with_its_path(store_path: Path):
    store_path.parent.mkdir()
    store_path.write_bytes(b"this is not a database, and long enough to be looked at" * 100)
    with pytest.raises(CorruptDataError, match=r"teachers\.sqlite.*Move the file away"):
        AnswerStore(store_path)


def test_a_path_that_cannot_be_opened_is_reported(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError):
        AnswerStore(tmp_path / "file" / "teachers.sqlite")


def test_a_full_disk_reaches_every_asker_and_later_asks_go_on(store_path: Path):
    async def main() -> None:
        store = AnswerStore(store_path)
        pages = store._file.writer.execute("PRAGMA page_count").fetchone()[0]
        reservation = await store.reserve(F, ONE, NO_LIMIT, 0, 1_000)
        store._file.writer.execute(f"PRAGMA max_page_count = {pages}")
        big = StoredAnswer("x" * 100_000, "m", ONE)
        results = await asyncio.gather(
            store.settle(reservation, AskRecord("k", F), big, 0), store.count_cached(F), return_exceptions=True
        )
        assert [type(result) for result in results] == [DiskFullError] * 2
        assert store.spent(F).open_reservations == 1
        store._file.writer.execute("PRAGMA max_page_count = 1000000")
        await store.settle(reservation, AskRecord("k", F), big, 0)
        assert store.cached(AskRecord("k", F)) == big
        await store.close()

    asyncio.run(main())


WRITER = """
import asyncio, sys
from pathlib import Path
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.answer_cache import AskRecord, StoredAnswer
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.ledger import Budget, Cost
from headrace.teachers.teacher import BudgetSpentError

F = ResourceId("StreamFinetuner", "default", "f")

async def one(store, number):
    try:
        reservation = await store.reserve(F, Cost(5, 5, 0), Budget(tokens=1000), 0, 1_000)
    except BudgetSpentError:
        return 0
    await store.settle(reservation, AskRecord(f"{sys.argv[2]}-{number}", F), StoredAnswer("x", "m", Cost(5, 5, 0)), 0)
    return 1

async def main():
    store = AnswerStore(Path(sys.argv[1]))
    print(sum(await asyncio.gather(*(one(store, number) for number in range(80)))))
    await store.close()

asyncio.run(main())
"""


def test_processes_share_one_budget_and_one_file(store_path: Path):
    children = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(store_path), str(n)], stdout=subprocess.PIPE)
        for n in range(3)
    ]
    granted = [int(child.communicate(timeout=60)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sum(granted) == 100
    store = AnswerStore(store_path)
    spent = store.spent(F)
    assert (spent.calls, spent.input_tokens + spent.output_tokens, spent.open_reservations) == (100, 1000, 0)
    asyncio.run(store.close())
