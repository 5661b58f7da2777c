"""`headrace cluster up`: how long it takes once the jars are here, and how much memory all servers take together.

    python benchmarks/cluster_start.py [--times 3]

Each time in a new folder and on free ports: Kafka's storage is formatted again. Memory is looked at right after the command has returned:
PSS, in which pages that processes share count once, and RSS, in which they count for each. Exit code 1: a target was missed.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from time import perf_counter

from machine_cluster import Targets

from headrace.cluster import ClusterPorts, LocalCluster
from headrace.testing.cluster import free_cluster_ports, why_absent

HEADRACE = [sys.executable, "-c", "from headrace.doors.cli import main; main()"]
SECONDS, MEGABYTES = 15, 1_200
OPTIONS = {
    "kafka": "--kafka-port", "controller": "--controller-port", "flink_rest": "--flink-port", "gateway": "--gateway-port",
    "jobmanager_rpc": "--jobmanager-port", "zookeeper": "--zookeeper-port",
}  # fmt: skip


def memory_mb(pid: int) -> tuple[float, float]:
    """(PSS, RSS) of a process, as the kernel counts them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
    found = {
        name: int(kilobytes) / 1e3 * 1.024
        for name, kilobytes in re.findall(r"^(Pss|Rss):\s+(\d+) kB", text, re.MULTILINE)
    }
    return found["Pss"], found["Rss"]


def measure(folder: Path) -> tuple[float, dict[str, tuple[float, float]]]:
    """Seconds until the command has returned, and (PSS, RSS) in MB of each server."""
    ports = free_cluster_ports()
    chosen = [text for field in fields(ClusterPorts) for text in (OPTIONS[field.name], str(getattr(ports, field.name)))]
    folder_option = ["--directory", str(folder)]
    started = perf_counter()
    try:
        subprocess.run(
            [*HEADRACE, "cluster", "up", *folder_option, *chosen], check=True, stdout=subprocess.DEVNULL, timeout=300
        )
        seconds = perf_counter() - started
        cluster = LocalCluster(folder)
        memory = {name: memory_mb(pid) for name in cluster.names if (pid := cluster.pid(name)) is not None}
    finally:
        subprocess.run(
            [*HEADRACE, "cluster", "down", *folder_option], check=True, stdout=subprocess.DEVNULL, timeout=120
        )
    return seconds, memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    if (reason := why_absent("kafka", "flink")) is not None:
        sys.exit(reason)
    targets = Targets()
    print(f"wanted: at most {SECONDS} s and {MEGABYTES:,} MB\n")
    print("| | s | PSS MB | RSS MB | PSS MB of each |")
    print("| --- | --- | --- | --- | --- |")
    for place in range(1, times + 1):
        with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
            seconds, memory = measure(Path(folder) / "cluster")
        pss, rss = (sum(one[kind] for one in memory.values()) for kind in (0, 1))
        each = ", ".join(f"{name} {one[0]:.0f}" for name, one in memory.items())
        print(f"| {place} | {seconds:.1f} | {pss:,.0f} | {rss:,.0f} | {each} |", flush=True)
        targets.at_most(f"start {place}", seconds, SECONDS)
        targets.at_most(f"memory {place}", pss, MEGABYTES)
    return targets.end()


if __name__ == "__main__":
    sys.exit(main())
