"""What the benchmarks on a cluster share: a Kafka and a Flink of this machine, at full speed, and lines that say measured and wanted."""

import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headrace.cluster import ClusterSize, LocalCluster
from headrace.testing.cluster import free_cluster_ports, why_absent

MARKET = Path(__file__).resolve().parents[2] / "shared" / "data" / "market"
"""Real trades and the exchange's own bars, beside the checkout."""


@contextmanager
def own_cluster(*parts: str, size: ClusterSize | None = None) -> Generator[LocalCluster]:
    """A cluster with these parts (kafka, flink) in a folder and on ports of its own, as `headrace cluster up` starts it; gone afterwards.

    `size`: left out, the usual one.
    """
    reason = why_absent(*parts)
    if reason is not None:
        sys.exit(reason)
    folder = Path(tempfile.mkdtemp(prefix="headrace-benchmark-"))
    cluster = LocalCluster(folder / "cluster", free_cluster_ports(), size=size, parts=parts, die_with_parent=True)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


def skip(why: str) -> int:
    """Says that nothing was measured; the exit code."""
    print(f"skipped: {why}")
    return 0


@dataclass(slots=True)
class Targets:
    """What was wanted, and whether it was reached."""

    missed: list[str] = field(default_factory=list[str])

    def at_least(self, what: str, measured: float, wanted: float) -> str:
        """`wanted` as a cell of a table, with a word where it was missed."""
        return self._cell(what, f"≥ {wanted:,.0f}", met=measured >= wanted)

    def at_most(self, what: str, measured: float, wanted: float) -> str:
        return self._cell(what, f"≤ {wanted:,.0f}", met=measured <= wanted)

    def end(self) -> int:
        """Says what was missed; the exit code."""
        print(f"\nMissed: {', '.join(self.missed)}" if self.missed else "\nEvery target was reached.")
        return 1 if self.missed else 0

    def _cell(self, what: str, wanted: str, *, met: bool) -> str:
        if not met:
            self.missed.append(what)
        return wanted if met else f"{wanted}, missed"
