"""16 clients while versions are swapped every 100 ms: failures, answers of two versions, p99 beside the usual p99.

`python benchmarks/hot_swap.py`. The versions each say one letter, so that a mixed answer is seen in its text. Phases
with and without swaps alternate, so that both meet the same machine.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from headrace.events.answer import Answer
from headrace.events.message import Message
from headrace.foundation.errors import HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.serving.answering import AnswerService
from headrace.serving.question import Question, Wishes
from headrace.serving.replica_limits import ReplicaLimits
from headrace.serving.replica_pool import PoolOptions, ReplicaPool
from headrace.serving.replica_process import ReplicaOptions
from headrace.serving.version_source import ModelCard, VersionRef
from headrace.testing.parrot_checkpoint import new_parrot

CLIENTS, NEW_TOKENS, SWAP_SECONDS, LETTERS = 16, 32, 0.1, "abcdef"
TARGET_P99_RATIO = 2.0


M = ResourceId("StreamFinetuner", "default", "m")


class Aliases:
    """One name whose version moves."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.served = LETTERS[0]

    def models(self) -> list[ModelCard]:
        return [ModelCard(M, "m", self.served)]

    def resolve(self, model_name: str) -> VersionRef:  # noqa: ARG002 - the port's; there is one name here
        return VersionRef(M, self.served, self._root / self.served)


class Nowhere:
    """Takes answers and keeps none."""

    def refusal(self) -> None:
        return None

    async def keep(self, model: ResourceId, answers: Mapping[str, Answer]) -> None:
        del model, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="of each phase")
    parser.add_argument("--phases", type=int, default=3)
    parser.add_argument("--size", default="10m", choices=("tiny", "1m", "10m"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for letter in LETTERS:
            new_parrot(Path(folder) / letter, letter, size=options.size)
        result = asyncio.run(measure(Path(folder), options))
    json.dump(result, sys.stdout, indent=2)
    print()
    good = not result["failures"] and not result["mixed_answers"] and result["p99_ratio"] <= TARGET_P99_RATIO
    sys.exit(0 if good else 1)


async def measure(root: Path, options: argparse.Namespace) -> dict:
    source = Aliases(root)
    replica = ReplicaOptions(limits=ReplicaLimits(threads=options.threads))
    service = AnswerService(source, {M: ReplicaPool(PoolOptions(replica=replica))}, Nowhere(), poll_seconds=0.02)
    await service.start()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    counts = {"failures": 0, "mixed_answers": 0}
    await _phase(service, source, swapping=False, seconds=2, taken=[], counts=counts)
    before = service.versions.swaps
    for _ in range(options.phases):
        for swapping in (False, True):
            await _phase(
                service, source, swapping=swapping, seconds=options.seconds, taken=seconds[swapping], counts=counts
            )
    swaps = service.versions.swaps - before
    await service.close()
    p99 = {name: _percentile(seconds[swapping], 0.99) for name, swapping in (("usual", False), ("swapping", True))}
    return {
        "clients": CLIENTS, "tokens_per_answer": NEW_TOKENS, "size": options.size, "threads": options.threads,
        "answers": {"usual": len(seconds[False]), "swapping": len(seconds[True])}, "swaps": swaps, **counts,
        "p50_seconds": {
            "usual": _percentile(seconds[False], 0.5), "swapping": _percentile(seconds[True], 0.5),
        },
        "p99_seconds": p99,
        "p99_ratio": round(p99["swapping"] / p99["usual"], 2),
        "target": TARGET_P99_RATIO,
    }  # fmt: skip


async def _phase(
    service: AnswerService,
    source: Aliases,
    *,
    swapping: bool,
    seconds: float,
    taken: list[float],
    counts: dict[str, int],
) -> None:
    end = time.perf_counter() + seconds
    clients = [asyncio.create_task(_client(service, end, taken, counts)) for _ in range(CLIENTS)]
    while time.perf_counter() < end:
        await asyncio.sleep(SWAP_SECONDS)
        if swapping:
            source.served = LETTERS[(LETTERS.index(source.served) + 1) % len(LETTERS)]
    await asyncio.gather(*clients)


async def _client(service: AnswerService, end: float, taken: list[float], counts: dict[str, int]) -> None:
    question = Question((Message("user", "hello world"),))
    while time.perf_counter() < end:
        began = time.perf_counter()
        try:
            answer = await service.ask("m", [question], Wishes(max_tokens=NEW_TOKENS))
            async for _ in answer.steps():
                pass
            await answer.close()
        except HeadraceError:
            counts["failures"] += 1
            continue
        choice = answer.choices[0]
        counts["failures"] += choice.finish_reason != "length"
        counts["mixed_answers"] += "".join(choice.text) != answer.version.version * NEW_TOKENS
        taken.append(time.perf_counter() - began)


def _percentile(values: list[float], share: float) -> float:
    return round(sorted(values)[int(share * (len(values) - 1))], 4)


if __name__ == "__main__":
    main()
