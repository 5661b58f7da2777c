"""Runs seeds and says how they went. Exit code 1 where one failed.

python -m headrace.testing.simulation [--seeds 100] [--from 0] [--seed N]
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from headrace.testing.simulation.scheduler import Report, Simulation

EVERY_SECONDS = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.simulation", description="Runs seeds.")
    parser.add_argument("--seeds", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--seed", type=int, help="this one alone, with all that it found")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    with tempfile.TemporaryDirectory(prefix="headrace-simulation-") as folder:
        return run(Simulation(Path(folder)), seeds, whole=options.seed is not None)


def run(simulation: Simulation, seeds: "range | list[int]", *, whole: bool) -> int:
    """Runs them all, whatever one finds."""
    failed, did = list[int](), Counter[str]()
    started = said = time.monotonic()
    for count, seed in enumerate(seeds, 1):
        report = simulation.run(seed)
        did += report.did
        if report.wrong:
            failed.append(seed)
            _say_failed(report, whole=whole)
        if time.monotonic() - said > EVERY_SECONDS:
            said = time.monotonic()
            _say(f"{count} of {len(seeds)} seeds, {len(failed)} failed, {count / (said - started):.1f} a second")
    seconds = time.monotonic() - started
    _say(f"{len(seeds) - len(failed)} of {len(seeds)} seeds passed in {seconds:.0f} s; failed: {failed or 'none'}")
    _say(", ".join(f"{name}: {times}" for name, times in did.most_common()))
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _say_failed(report: Report, *, whole: bool) -> None:
    _say(f"seed {report.seed} FAILED; repeat it with: python -m headrace.testing.simulation --seed {report.seed}")
    for line in report.wrong if whole else report.wrong[:3]:
        _say(f"  {line if whole else line[:300]}")
    _say(f"  keep it: add {report.seed} to tests/simulation/cases.txt")


if __name__ == "__main__":
    sys.exit(main())
