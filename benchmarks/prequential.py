"""Learning quality while it streams: BANKING77's 20 most frequent intents, each question scored before it is learned.

    .venv/bin/python benchmarks/prequential.py --data ../shared/data/support/banking77-train.csv [--seeds 4] [--json]

A tiny model (169 k parameters), one pass, 16 fresh and 16 replayed examples per step, Muon at 5e-3, one thread. Twice: the
intent alone, and `intent | team` where a third of the intents go to another team from row 2,000 on; there the replayed
examples whose answer changed are dropped and the warm-up starts again. Exact match of the learner and of its average (what a
candidate is cut from), beside always giving the commonest answer.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from headrace.events.message import Message
from headrace.learning.learner import LEARNER, LearnerOptions
from headrace.learning.torch import open_learner
from headrace.models.renderer import open_renderer
from headrace.models.tiny import new_checkpoint

INTENTS, CHANGE, WINDOW = 20, 2000, 500
TEAMS = ("cards", "payments", "transfers", "accounts", "support")
TARGETS = {"intent": (0.0, 0.86), "intent | team": (0.78, 0.86)}
"""Least exact match of the average over the rows before the change, and over the last ones."""


@dataclass(frozen=True)
class Settings:
    batch: int
    replay: float
    learning_rate: float
    warmup: int
    decay: float


def read(path: Path, seed: int) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    kept = {intent for intent, _ in Counter(intent for _, intent in rows).most_common(INTENTS)}
    chosen = [row for row in rows if row[1] in kept]
    random.Random(seed).shuffle(chosen)
    return chosen


def answers(rows: list[tuple[str, str]], *, teams: bool) -> list[str]:
    if not teams:
        return [intent for _, intent in rows]
    order = sorted({intent for _, intent in rows})
    before = {intent: place % len(TEAMS) for place, intent in enumerate(order)}
    after = {intent: team + 2 * (order.index(intent) % 3 == 0) for intent, team in before.items()}
    return [
        f"{intent} | {TEAMS[(before if row < CHANGE else after)[intent] % len(TEAMS)]}"
        for row, (_, intent) in enumerate(rows)
    ]


def stream(rows: list[tuple[str, str]], given: list[str], settings: Settings, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        new_checkpoint(base, size="tiny", text=[*(text for text, _ in rows), *given], seed=seed)
        renderer = open_renderer(base)
        learner = open_learner(
            LearnerOptions(
                base=base, optimizer="muon", learning_rate=settings.learning_rate, warmup_steps=settings.warmup,
                batch_size=settings.batch, average_decay=settings.decay, seed=seed, device="cpu",
            )
        )  # fmt: skip
    examples = [
        renderer.example([Message("user", text)], answer) for (text, _), answer in zip(rows, given, strict=True)
    ]
    draw, replay = random.Random(seed), deque[int](maxlen=4096)
    learned: list[bool] = []
    averaged: list[bool] = []
    start = perf_counter()
    for first in range(0, len(examples), settings.batch):
        if first == CHANGE - CHANGE % settings.batch:
            latest = {rows[row][1]: given[row] for row in range(len(rows))}
            replay = deque((row for row in replay if given[row] == latest[rows[row][1]]), maxlen=4096)
            learner.rewarm()
        fresh = examples[first : first + settings.batch]
        learned += [score.exact for score in learner.score(LEARNER, fresh)]
        learner.freeze("average")
        averaged += [score.exact for score in learner.score("average", fresh)]
        count = min(len(replay), round(settings.replay * len(fresh)))
        learner.learn([[*fresh, *(examples[row] for row in draw.sample(replay, count))]])
        replay.extend(range(first, first + len(fresh)))
    seconds = perf_counter() - start
    commonest = Counter(given).most_common(1)[0][1] / len(given)
    return {
        "before": mean(learned[CHANGE - WINDOW : CHANGE]),
        "last": mean(learned[-WINDOW:]),
        "average_before": mean(averaged[CHANGE - WINDOW : CHANGE]),
        "average_last": mean(averaged[-WINDOW:]),
        "majority": commonest,
        "examples_per_second": len(examples) / seconds,
    }


def mean(values: list[bool]) -> float:
    return sum(values) / len(values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--replay", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--decay", type=float, default=0.95)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings = Settings(arguments.batch, arguments.replay, arguments.learning_rate, arguments.warmup, arguments.decay)
    results = {
        name: [
            stream(rows := read(arguments.data, seed), answers(rows, teams=" " in name), settings, seed)
            for seed in range(arguments.seeds)
        ]
        for name in TARGETS
    }
    if arguments.json:
        print(json.dumps(results, indent=2))
        return 0
    good = [table(name, runs) for name, runs in results.items()]
    return 0 if all(good) else 1


def table(name: str, runs: list[dict[str, float]]) -> bool:
    """Prints one line per seed; whether every seed's average meets the targets."""
    before, last = TARGETS[name]
    print(
        f"\n{name}: exact match over {WINDOW} rows (learner / its average), majority answer {runs[0]['majority']:.3f}"
    )
    for seed, run in enumerate(runs):
        print(
            f"  seed {seed}: before row {CHANGE} {run['before']:.3f} / {run['average_before']:.3f}   "
            f"last {run['last']:.3f} / {run['average_last']:.3f}   {run['examples_per_second']:.0f} examples/s"
        )
    return all(run["average_before"] >= before and run["average_last"] >= last for run in runs)


if __name__ == "__main__":
    sys.exit(main())
