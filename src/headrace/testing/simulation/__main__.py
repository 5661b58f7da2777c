"""Runs seeds and says how they went."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from headrace.testing.simulation.scheduler import Report
from headrace.testing.simulation.seeds import INTERRUPTED, run_seeds

EXAMPLES = """\
examples:
  python -m headrace.testing.simulation                       100 seeds on all cores
  python -m headrace.testing.simulation --seeds 2000          as many as the benchmark asks for
  python -m headrace.testing.simulation --from 5000           seeds 5000 to 5099
  python -m headrace.testing.simulation --seed 17             one seed, with all that it found

exit code: 0 all passed, 1 one failed, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    options = _parser().parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    with tempfile.TemporaryDirectory(prefix="headrace-simulation-", dir=options.folder) as folder:
        summary = run_seeds(seeds, Path(folder), options.processes, _say, lambda it: _say_failed(it, options.seed))
    _say(
        f"{summary.passed} of {len(seeds)} seeds passed in {summary.seconds:.0f} s; failed: {summary.failed or 'none'}"
    )
    _say(", ".join(f"{name}: {times:,}" for name, times in summary.did.most_common()))
    if summary.interrupted:
        _say(
            f"interrupted; continue with --from {seeds.start + summary.in_order} --seeds {len(seeds) - summary.in_order}"
        )
        return INTERRUPTED
    return 1 if summary.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m headrace.testing.simulation",
        description="Steps the whole pipeline under seeded schedules of steps, pauses, kills, full disks, edits and teachers that "
        "are slow, lie or fail, and compares each run with the undisturbed run of the same inputs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=_count, default=100, metavar="N", help="how many (default 100)")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED", help="the first one (default 0)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="this one alone, with all that it found")
    parser.add_argument(
        "--processes", type=_count, default=os.cpu_count() or 1, metavar="N", help="at a time (default: one per core)"
    )
    parser.add_argument("--folder", type=Path, help="where the runs lie (default: in memory, where there is room)")
    parser.set_defaults(folder=_in_memory())
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _in_memory() -> Path | None:
    """A kill in a run drops objects, not the machine: what SQLite has written is there without a disk."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    return shared if os.access(shared, os.W_OK) else None


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _say_failed(report: Report, alone: int | None) -> None:
    _say(f"seed {report.seed} FAILED; repeat it with: python -m headrace.testing.simulation --seed {report.seed}")
    for line in report.wrong if alone is not None else report.wrong[:3]:
        _say(f"  {line if alone is not None else line[:300]}")
    _say(f"  keep it: add {report.seed} to tests/simulation/cases.txt")


if __name__ == "__main__":
    sys.exit(main())
