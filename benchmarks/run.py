"""Runs every benchmark, one after the other, and writes what they print to benchmarks/RESULTS.md.

    python benchmarks/run.py [--engine cluster] [NAME …]

`--engine cluster` runs those on Kafka and Flink, which each of them starts for itself; without it the others are run. A quiet
machine is needed; ratios within one run are what to trust. Sections that were not run keep what they held.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
PEERS = HERE.parent / ".venv-bench"
BENCHMARKS = {
    "bars": ("Two million trades to one-minute bars", ["bars.py", "--rounds", "2", "--no-tenfold"]),
    "stages": ("File to log to rows to log", ["stages.py"]),
    "log": ("The log", ["log_throughput.py"]),
    "training": ("Training", ["training.py", "--turns", "1"]),
    "serving": ("Serving", ["serving.py", "--rounds", "3"]),
    "hot_swap": ("Swapping versions under 16 clients", ["hot_swap.py"]),
    "promotion": ("Promotion: power", ["promotion_power.py"]),
    "embedding": ("Embedding beside sentence-transformers", ["embedding.py"]),
    "cranfield": ("Finding: Cranfield by keywords, vectors and both", ["cranfield.py"]),
    "start": ("Starting", ["start.py"]),
    "knowledge_store": ("The knowledge store on SQLite", ["knowledge_store.py"]),
    "knowledge_memory": ("A million chunks in memory", ["knowledge_store.py", "--chunks", "0", "--memory", "1000000"]),
    "knowledge_postgres": ("The knowledge store on PostgreSQL", ["knowledge_store.py", "--store", "postgres"]),
    "knowledge_kills": ("Killing an indexing run", ["knowledge_kills.py"]),
    "knowledge_kills_postgres": ("The same over PostgreSQL", ["knowledge_kills.py", "--store", "postgres"]),
    "demo": ("The demo's stream, unthrottled", ["support_desk.py"]),
}
ON_A_CLUSTER = {
    "kafka_log": ("The log on Kafka", ["kafka_log.py"]),
    "kafka_hop": ("From stage to stage on Kafka", ["kafka_hop.py"]),
    "flink_bars": ("The exchange's bars out of a Flink job", ["flink_bars.py"]),
    "cluster_start": ("Starting a Kafka and a Flink", ["cluster_start.py"]),
    "corpus": ("The corpus of queries on both engines", ["corpus.py"]),
}
ALL = BENCHMARKS | ON_A_CLUSTER


NEEDS_PEERS = ("training", "embedding")
"""Run by the interpreter that has the peers; the others call it themselves or need none."""


def machine() -> str:
    """What it ran on, in a line."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def sections() -> dict[str, str]:
    """What RESULTS.md holds, by benchmark."""
    if not RESULTS.exists():
        return {}
    parts = re.split(r"<!-- (\w+) -->\n", RESULTS.read_text("utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def measure(name: str) -> str:
    """Runs one benchmark; its standard output is its section."""
    title, (script, *arguments) = ALL[name]
    print(f"{name}: {title} …", flush=True)
    python = PEERS / "bin" / "python" if name in NEEDS_PEERS else sys.executable
    command = [str(python), str(HERE / script), *arguments]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    missed = f"\nExit code {done.returncode}: a target was missed, or the run broke off.\n" if done.returncode else ""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    repeat = f"{'.venv-bench/bin/' if name in NEEDS_PEERS else ''}python benchmarks/{script}" + "".join(
        f" {argument}" for argument in arguments
    )
    return f"## {title}\n\n`{repeat}` · {when} · {machine()}\n\n```\n{done.stdout.rstrip()}\n```\n{missed}\n"


def write(held: dict[str, str]) -> None:
    """Into RESULTS.md: the benchmarks in their order, then what compares them with a commit."""
    order = [*ALL, *(f"against_{name}" for name in ALL)]
    body = "".join(f"<!-- {one} -->\n{held[one]}" for one in order if one in held)
    RESULTS.write_text(
        "# Measured\n\nEvery figure was printed by the command above it; `make bench` repeats them all, and `make bench ENGINE=cluster` those on\n"
        f"Kafka and Flink. Times on shared machines move: trust the ratios, which come from one run.\n\n{body}",
        "utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["embedded", "cluster"], default="embedded", help="which benchmarks")
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help="which of them; left out: all")
    options = parser.parse_args()
    known = ON_A_CLUSTER if options.engine == "cluster" else BENCHMARKS
    if strangers := [name for name in options.names if name not in known]:
        parser.error(
            f"no benchmark of the engine {options.engine}: {', '.join(strangers)}; there are {', '.join(known)}"
        )
    chosen = options.names or list(known)
    held = sections()
    for name in chosen:
        held[name] = measure(name)
        write(held)


if __name__ == "__main__":
    main()
