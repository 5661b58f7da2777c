"""Runs benchmarks of this checkout and of a commit by turns, and prints each figure of both with its ratio.

    python benchmarks/against.py COMMIT [--rounds 3] [NAME …]
    python benchmarks/against.py e5c76ab --write log stages serving hot_swap
    python benchmarks/against.py e5c76ab --rounds 2 kafka_hop

The commit is checked out beside, with an environment of its own from its own lock. Rounds alternate who is first. A figure is a
number in a line that both print in the same shape and that is not the same in all rounds; shown is the median of each side.
`--write` puts the tables into benchmarks/RESULTS.md.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from run import ALL, HERE, machine, sections, write

NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
Figures = dict[tuple[str, str, int, int], list[float]]
"""Values per round, by the line's label and shape, how often both came before, and the number's place in the line."""


@contextmanager
def checked_out(commit: str) -> Generator[Path]:
    """The commit in a folder, ready to run."""
    with tempfile.TemporaryDirectory(prefix="headrace-against-") as folder:
        place = Path(folder) / "checkout"
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", str(place), commit], cwd=HERE.parent, check=True
        )
        try:
            subprocess.run(["make", "-s", "setup"], cwd=place, check=True)
            yield place
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(place)], cwd=HERE.parent, check=True)


def measure(checkout: Path, name: str) -> str:
    """What one benchmark prints there."""
    _, (script, *arguments) = ALL[name]
    command = [str(checkout / ".venv" / "bin" / "python"), str(checkout / "benchmarks" / script), *arguments]
    done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout.strip():
        sys.exit(f"{name} printed nothing in {checkout} (exit code {done.returncode})")
    return done.stdout


def add(figures: Figures, printed: str) -> None:
    seen = defaultdict[tuple[str, str], int](int)
    for line in printed.splitlines():
        label, shape = re.split(r"[|:]", line.strip("| "))[0].strip(' "'), NUMBER.sub("#", line)
        for place, text in enumerate(NUMBER.findall(line)):
            figures[label, shape, seen[label, shape], place].append(float(text.replace(",", "")))
        seen[label, shape] += 1


def table(commit: str, before: Figures, now: Figures) -> str:
    lines = [f"| figure | {commit} | now | now ÷ {commit} |", "| --- | ---: | ---: | ---: |"]
    names = Counter[str]()
    for key, values in before.items():
        if key not in now or len({*values, *now[key]}) == 1:
            continue
        old, new = statistics.median(values), statistics.median(now[key])
        names[key[0]] += 1
        name = key[0] if names[key[0]] == 1 else f"{key[0]} ({names[key[0]]})"
        lines.append(f"| {name} | {old:,.4g} | {new:,.4g} | {f'{new / old:.2f}' if old else '–'} |")
    return "\n".join(lines)


def compare(commit: str, other: Path, name: str, rounds: int) -> str:
    sides: list[tuple[Path, Figures]] = [(other, defaultdict(list)), (HERE.parent, defaultdict(list))]
    for turn in range(rounds):
        for checkout, figures in sides if turn % 2 == 0 else sides[::-1]:
            print(
                f"{name}, round {turn + 1}: {'before' if checkout == other else 'now'} …", file=sys.stderr, flush=True
            )
            add(figures, measure(checkout, name))
    return f"**{ALL[name][0]}**\n\n{table(commit, sides[0][1], sides[1][1])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="what to compare with")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which benchmarks ({', '.join(ALL)}); left out: log")
    parser.add_argument("--rounds", type=int, default=3, help="of each side")
    parser.add_argument(
        "--write", action="store_true", help="puts the tables into RESULTS.md, beside those of other benchmarks"
    )
    options = parser.parse_intermixed_args()
    options.names = options.names or ["log"]
    if strangers := [name for name in options.names if name not in ALL]:
        parser.error(f"no benchmark {', '.join(strangers)}; there are {', '.join(ALL)}")
    with checked_out(options.commit) as other:
        for name in options.names:
            found = compare(options.commit, other, name, options.rounds)
            print(f"{found}\n", flush=True)
            if options.write:
                when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
                command = f"python benchmarks/against.py {options.commit} --rounds {options.rounds} {name}"
                title = f"## Against {options.commit}: {name}"
                write(sections() | {f"against_{name}": f"{title}\n\n`{command}` · {when} · {machine()}\n\n{found}\n\n"})


if __name__ == "__main__":
    main()
