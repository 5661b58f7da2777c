"""Many seeds on several processes, with progress; Ctrl-C ends it with what is known by then."""

import multiprocessing
import multiprocessing.pool
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from headrace.testing.simulation.scheduler import Report
from headrace.testing.simulation.simulation import SEEDS_OF_ONE_INPUT, Simulation

EVERY_SECONDS = 5.0
INTERRUPTED = 130


@dataclass(slots=True)
class Summary:
    """How the seeds went."""

    first: int
    failed: list[int] = field(default_factory=list[int])
    did: Counter[str] = field(default_factory=Counter[str])
    done: set[int] = field(default_factory=set[int])
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def passed(self) -> int:
        return len(self.done) - len(self.failed)

    @property
    def in_order(self) -> int:
        """How many are done before the first that is not."""
        count = 0
        while self.first + count in self.done:
            count += 1
        return count

    def add(self, report: Report) -> None:
        self.done.add(report.seed)
        self.did += report.did
        if report.wrong:
            self.failed.append(report.seed)


def run_seeds(
    seeds: range, folder: Path, processes: int, say: Callable[[str], None], failed: Callable[[Report], None]
) -> Summary:
    """Runs them all, whatever one finds. `say`: progress; `failed`: called with each that failed."""
    summary = Summary(seeds.start)
    began = said = time.monotonic()
    pieces = _pieces(seeds)
    try:
        with _reports(pieces, folder, min(processes, len(pieces))) as reports:
            for piece in reports:
                for report in piece:
                    summary.add(report)
                    if report.wrong:
                        failed(report)
                if time.monotonic() - said >= EVERY_SECONDS:
                    said = time.monotonic()
                    say(_progress(summary, len(seeds), said - began))
    except KeyboardInterrupt:
        summary.interrupted = True
    summary.failed.sort()
    summary.seconds = time.monotonic() - began
    return summary


def _pieces(seeds: range) -> list[range]:
    """Seeds of the same inputs stay together."""
    at = SEEDS_OF_ONE_INPUT
    first = seeds.start - seeds.start % at
    starts = range(first, seeds.stop, at)
    return [range(max(seeds.start, one), min(seeds.stop, one + at)) for one in starts]


@contextmanager
def _reports(
    pieces: Sequence[range], folder: Path, processes: int
) -> "Generator[Generator[list[Report]] | multiprocessing.pool.IMapIterator[list[Report]]]":
    if processes == 1:
        yield (_run(folder, piece) for piece in pieces)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        yield pool.imap_unordered(partial(_run, folder), pieces)


def _run(folder: Path, piece: range) -> list[Report]:
    """In the process that does the work."""
    return [_simulation(folder).run(seed) for seed in piece]


@cache
def _simulation(folder: Path) -> Simulation:
    """Each process has its own."""
    own = folder / multiprocessing.current_process().name
    own.mkdir()
    return Simulation(own)


def _progress(summary: Summary, total: int, seconds: float) -> str:
    done = len(summary.done)
    left = (total - done) * seconds / done
    lasts = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
    return f"{done:,} of {total:,} seeds, {len(summary.failed)} failed, {done / seconds:.1f} a second, {lasts} left"
