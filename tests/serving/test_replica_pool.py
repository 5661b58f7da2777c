"""Real replica processes: dispatch, loss, cancelling, draining, limits."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from headrace.foundation.errors import BusyError, CorruptDataError, UnavailableError
from headrace.serving.generation import GenerationRequest, GenerationStep
from headrace.serving.replica_limits import ReplicaLimits
from headrace.serving.replica_pool import PoolOptions, ReplicaPool
from headrace.serving.replica_process import ReplicaOptions

LONG = 900
ONE = PoolOptions()


@asynccontextmanager
async def running(options: PoolOptions = ONE) -> AsyncGenerator[ReplicaPool]:
    pool = ReplicaPool(options)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def until(condition, seconds: float = 30) -> None:
    """Waits for what another process does; a test that waits in vain fails."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.005)


async def collect(pool: ReplicaPool, path: Path, request: GenerationRequest) -> list[GenerationStep]:
    return [step async for step in pool.generate(path, request)]


def ask(name: str, tokens: int = 8) -> GenerationRequest:
    return GenerationRequest(name, (5, 6), max_tokens=tokens)


def said(steps: list[GenerationStep]) -> str:
    return "".join(step.text for step in steps)


def test_replicas_answer_many_requests_at_once_with_the_version_each_names(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        async with running(PoolOptions(replicas=2)) as pool:
            asked = [(letter, f"{letter}{index}") for index in range(8) for letter in "abc"]
            answers = await asyncio.gather(*(collect(pool, parrots[letter], ask(name)) for letter, name in asked))
            assert [said(steps) for steps in answers] == [letter * 8 for letter, _ in asked]
            await until(lambda: len(pool.replicas) == 2)
            assert pool.state.running == pool.state.queued == 0

    asyncio.run(run())


def test_a_full_queue_refuses_at_once_and_the_others_get_their_turn(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        options = PoolOptions(replica=ReplicaOptions(max_batch=1), max_queue=1)
        async with running(options) as pool:
            first = pool.generate(parrots["a"], ask("first", LONG))
            await anext(first)
            second = asyncio.create_task(collect(pool, parrots["a"], ask("second")))
            await until(lambda: pool.state.queued == 1)
            with pytest.raises(BusyError) as refused:
                await collect(pool, parrots["a"], ask("third"))
            assert refused.value.retry_after_seconds == 1
            await first.aclose()
            assert said(await second) == "a" * 8

    asyncio.run(run())


def test_closing_an_answer_ends_the_replicas_work(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        async with running() as pool:
            answer = pool.generate(parrots["a"], ask("gone", LONG))
            assert (await anext(answer)).finish_reason is None
            (replica,) = pool.replicas
            await until(lambda: replica.running == 1)
            await answer.aclose()
            await until(lambda: replica.running == 0)
            assert pool.state.running == 0

    asyncio.run(run())


def test_a_killed_replica_costs_only_answers_that_had_begun(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        options = PoolOptions(replicas=1, replica=ReplicaOptions(max_batch=1))
        async with running(options) as pool:
            begun = pool.generate(parrots["a"], ask("begun", LONG))
            await anext(begun)
            waiting = asyncio.create_task(collect(pool, parrots["b"], ask("waiting")))
            await until(lambda: pool.state.queued == 1)
            os.kill(pool.replicas[0].pid, signal.SIGKILL)
            last = [step async for step in begun][-1]
            assert last.finish_reason == "error"
            assert "during the answer" in last.error
            assert said(await waiting) == "b" * 8
            assert pool.state.restarts == 1

    asyncio.run(run())


def test_a_request_that_a_dying_replica_had_not_answered_is_answered_by_another(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        async with running(PoolOptions(replicas=2)) as pool:
            await until(lambda: len(pool.replicas) == 2)
            victim = pool.replicas[0]
            os.kill(victim.pid, signal.SIGSTOP)
            asked = [asyncio.create_task(collect(pool, parrots["a"], ask(f"r{index}"))) for index in range(4)]
            await until(lambda: sum(task.done() for task in asked) == 2)
            os.kill(victim.pid, signal.SIGKILL)
            assert [said(await task) for task in asked] == ["a" * 8] * 4

    asyncio.run(run())


def test_a_version_that_cannot_be_loaded_is_an_error_and_other_versions_answer(
    parrots: dict[str, Path], tmp_path: Path
) -> None:
    async def run() -> None:
        async with running() as pool:
            with pytest.raises(CorruptDataError, match=r"no config\.json"):
                await pool.prepare(tmp_path)
            (failed,) = await collect(pool, tmp_path, ask("nothing"))
            assert failed.finish_reason == "error"
            assert "cannot be loaded" in failed.error
            assert said(await collect(pool, parrots["a"], ask("fine"))) == "a" * 8

    asyncio.run(run())


def test_more_versions_than_fit_are_loaded_in_turn(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        async with running(PoolOptions(replica=ReplicaOptions(max_versions=1))) as pool:
            for letter in "abcdab":
                assert said(await collect(pool, parrots[letter], ask(letter))) == letter * 8

    asyncio.run(run())


def test_draining_finishes_what_runs_and_takes_nothing_new(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        async with running() as pool:
            running_one = pool.generate(parrots["a"], ask("running", 50))
            first = await anext(running_one)
            draining = asyncio.create_task(pool.drain(30))
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError, match="shutting down"):
                await collect(pool, parrots["a"], ask("late"))
            assert said([first] + [step async for step in running_one]) == "a" * 50
            assert await draining

    asyncio.run(run())


def test_memory_beyond_the_limit_is_an_error_of_the_version_and_the_replica_lives(parrots: dict[str, Path]) -> None:
    async def run() -> None:
        limits = ReplicaLimits(threads=1, memory_bytes=400 * 2**20)
        options = PoolOptions(replica=ReplicaOptions(limits=limits, engine="transformers"))
        async with running(options) as pool:
            (step,) = await collect(pool, parrots["a"], ask("big"))
            assert step.finish_reason == "error"
            assert len(pool.replicas) == 1

    asyncio.run(run())


def test_a_replica_computes_with_as_many_threads_as_it_may_use(parrots: dict[str, Path]) -> None:
    async def run() -> str:
        async with running(PoolOptions(replica=ReplicaOptions(limits=ReplicaLimits(threads=3)))) as pool:
            await collect(pool, parrots["a"], ask("a"))
            return psutil.Process(pool.replicas[0].pid).environ()["OPENBLAS_NUM_THREADS"]

    assert asyncio.run(run()) == "3"


def test_replicas_end_when_the_pool_closes(parrots: dict[str, Path]) -> None:
    async def run() -> int:
        async with running() as pool:
            return pool.replicas[0].pid

    pid = asyncio.run(run())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.kill
def test_replicas_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    import subprocess
    import sys
    import time

    program = (
        "import asyncio\n"
        "from headrace.serving.replica_pool import PoolOptions, ReplicaPool\n"
        "async def main():\n"
        "    pool = ReplicaPool(PoolOptions())\n"
        "    await pool.start()\n"
        "    print(pool.replicas[0].pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < deadline, "the replica outlived its parent"
        os.sched_yield()
