"""How often promotion is wrong, and how many rows it takes to be right: simulated, seeded, a few minutes.

    python benchmarks/promotion_power.py [--streams 1000]

Prints Markdown: power and rows by gap, discordance and attempt; wrong promotions over null streams; the rows that ending
hopeless trials saves; how often the anchors' test stops a candidate.
"""

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from headrace.promotion.confidence_sequence import first_win
from headrace.promotion.gate import GateOptions, PromotionGate, RowDifference
from headrace.promotion.trial import spent_on

Floats = npt.NDArray[np.float64]
ALPHA, ROWS = 0.05, 2000


def flips(rng: np.random.Generator, means: Floats, discordance: float = 0.2) -> Floats:
    """Differences of two models that disagree on a share of the rows: -1, 0, 1."""
    drawn = rng.random(means.shape)
    return np.where(drawn < (discordance + means) / 2, 1.0, np.where(drawn < discordance, -1.0, 0.0))


def regimes(rng: np.random.Generator, streams: int, length: float) -> Floats:
    start = np.where(rng.random((streams, 1)) < 0.5, 1.0, -1.0)
    return start * np.where(np.cumsum(rng.random((streams, ROWS)) < 1 / length, axis=1) % 2, 1.0, -1.0)


def power(rng: np.random.Generator, streams: int) -> None:
    print(f"## Power within {ROWS:,} rows, and the median of the rows to a win\n")
    print("| gap | discordance | " + " | ".join(f"attempt {k} (α {spent_on(k, ALPHA):.4f})" for k in (1, 2, 4)) + " |")
    print("| --- | --- | --- | --- | --- |")
    for gap in (0.02, 0.05, 0.1, 0.2):
        for discordance in (0.1, 0.2, 0.3):
            if gap > discordance:
                continue
            d = flips(rng, np.full((streams, ROWS), gap), discordance)
            cells: list[str] = []
            for attempt in (1, 2, 4):
                rows = first_win(d, spent_on(attempt, ALPHA))
                won = rows > 0
                cells.append(f"{won.mean():.2f}, {np.median(rows[won]):,.0f} rows" if won.any() else "0.00")
            print(f"| {gap} | {discordance} | " + " | ".join(cells) + " |")


def null_streams(rng: np.random.Generator, streams: int) -> None:
    print("\n## Promotions where nobody is better over all: any of three candidates\n")
    print("| stream | promoted | promoted without a lead on the rows seen |\n| --- | --- | --- |")
    zero = np.zeros((streams, ROWS))
    cases: list[tuple[str, Callable[[], tuple[Floats, Floats]]]] = [
        (f"independent, discordance {q}", lambda q=q: (flips(rng, zero, q), zero)) for q in (0.05, 0.2, 0.9)
    ]
    for length in (10, 50):
        for lead in (0.05, 0.1, 0.2):
            name = f"favour of ±{lead} that turns every {length} rows"
            cases.append((name, lambda length=length, lead=lead: _modulated(rng, streams, length, lead)))
    for name, make in cases:
        won, wrong = np.zeros(streams, bool), np.zeros(streams, bool)
        for attempt in (1, 2, 3):
            d, means = make()
            rows = first_win(d, spent_on(attempt, ALPHA))
            so_far = np.cumsum(means, axis=1)[np.arange(streams), np.maximum(rows - 1, 0)]
            won |= rows > 0
            wrong |= (rows > 0) & (so_far <= 1e-9)
        print(f"| {name} | {won.mean():.3f} | {wrong.mean():.3f} |")


def _modulated(rng: np.random.Generator, streams: int, length: float, lead: float) -> tuple[Floats, Floats]:
    means = lead * regimes(rng, streams, length)
    return flips(rng, means), means


def early_endings(rng: np.random.Generator, streams: int) -> None:
    print("\n## Real gates, first attempt, discordance 0.2: what ending hopeless trials does\n")
    print("| gap | promoted | rows of a trial that is lost, mean |\n| --- | --- | --- |")
    for gap in (-0.05, 0.0, 0.02, 0.05, 0.1):
        lost: list[int] = []
        for d in flips(rng, np.full((streams, ROWS), gap)):
            verdict, rows = _trial(d)
            if verdict == "rejected":
                lost.append(rows)
        print(f"| {gap} | {1 - len(lost) / streams:.2f} | {np.mean(lost) if lost else 0:,.0f} |")


def _trial(d: Floats) -> tuple[str, int]:
    gate = PromotionGate(GateOptions(max_rows=ROWS))
    gate.cut(-1, "v1")
    for place, value in enumerate(d.tolist()):
        if verdict := gate.observe(RowDifference(place, place, value)):
            return verdict.kind, place + 1
    raise AssertionError("a trial ends by max_rows")


def anchors(rng: np.random.Generator, streams: int) -> None:
    print("\n## Anchors, maxDrop 0.02, discordance 0.2: share of candidates that pass\n")
    print("| true difference | 50 anchors | 100 | 256 |\n| --- | --- | --- | --- |")
    for gap in (-0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1):
        shares = [(flips(rng, np.full((streams, n), gap)).mean(axis=1) > -0.02).mean() for n in (50, 100, 256)]
        print(f"| {gap} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1000)
    streams = parser.parse_args().streams
    rng = np.random.default_rng(2021)
    power(rng, streams)
    null_streams(rng, streams)
    early_endings(rng, max(20, streams // 5))
    anchors(rng, 10 * streams)


if __name__ == "__main__":
    main()
