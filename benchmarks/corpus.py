"""Every query of the corpus on DuckDB and on a real Flink: how many of the rows are equal.

    python benchmarks/corpus.py [--parallelism 1 2] [--seed 0] [--without-million]

A Kafka and a Flink are started for it. Rows are compared with id, key, times, origin and value, late rows with their place and delay.
Exit code 1: something differs that `headrace.testing.corpus.differences` does not name.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine_cluster import own_cluster

from headrace.cluster import ClusterSize
from headrace.cluster.configuration import at_least
from headrace.foundation.errors import InvalidQueryError
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.streams.flink.engine import FlinkEngine
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.differences import FLINK
from headrace.testing.corpus.generated import generated_queries
from headrace.testing.corpus.million import million_query
from headrace.testing.corpus.on_jobs import JobFailedError, JobRunner
from headrace.testing.corpus.outcome import Outcome, differences, on_duckdb
from headrace.testing.corpus.queries import corpus

PATIENCE_SECONDS = 600.0
"""On a busy machine a million keys take minutes before their one window comes."""
TASK_MANAGER_MB = 2_048
"""The state of a million keys lies in a TaskManager's heap; the usual local one has 256 MB for all jobs."""


@dataclass(slots=True)
class Tally:
    """How many rows are wanted, and how many of them were found."""

    rows: int = 0
    equal_rows: int = 0
    late: int = 0
    equal_late: int = 0

    def count(self, wanted: Outcome, found: Outcome) -> None:
        self.rows += wanted.rows.total()
        self.equal_rows += (wanted.rows & found.rows).total()
        self.late += wanted.late.total()
        self.equal_late += (wanted.late & found.late).total()

    def text(self) -> str:
        """Rows first, then late ones."""
        rows, late = _share(self.equal_rows, self.rows), _share(self.equal_late, self.late)
        return f"{rows} rows equal, {late} late rows"


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / whole if whole else 100:.2f} %)"


def compare(
    engine: FlinkEngine, log: TopicLog, queries: Sequence[CorpusQuery], expected: dict[str, Outcome], parallelism: int
) -> bool:
    """Prints a line; whether nothing differs but what is known to."""
    started, unknown, same = time.monotonic(), list[str](), 0
    all_of, unmarked = Tally(), Tally()
    runner = JobRunner(engine, log, queries, parallelism, PATIENCE_SECONDS)
    for query in queries:
        wanted = expected[query.name]
        found = Outcome()
        try:
            found = runner.outcome(query.name)
            told = differences(wanted, found)
        except (InvalidQueryError, JobFailedError) as error:
            told = [str(error)]
        same += not told
        for tally in [all_of] if query.name in FLINK else [all_of, unmarked]:
            tally.count(wanted, found)
        if bool(told) != (query.name in FLINK):
            unknown.append(
                "\n    ".join([query.name, *(told or ["is equal, and is listed in the table of differences"])])
            )
    runner.close()
    seconds = time.monotonic() - started
    print(f"parallelism {parallelism}: {same} of {len(queries)} queries whole, in {seconds:.0f} s")
    print(f"  of all queries: {all_of.text()}")
    print(f"  of those that are not marked: {unmarked.text()}, wanted 100 %")
    print("".join(f"  {one}\n" for one in unknown), end="", flush=True)
    return not unknown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parallelism", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0, help="of the rows made up by chance")
    parser.add_argument("--without-million", action="store_true", help="leave the query of a million keys out")
    options = parser.parse_args()
    queries = [one for one in (*corpus(), *generated_queries(options.seed)) if one.batches]
    expected = {query.name: on_duckdb(query) for query in queries}
    known = sum(query.name in FLINK for query in queries)
    print(
        f"{len(queries)} queries, {sum(one.total for one in expected.values()):,} rows; {known} queries are known to differ"
    )
    with (
        tempfile.TemporaryDirectory(prefix="headrace-corpus-") as folder,
        own_cluster("kafka", "flink", size=at_least(ClusterSize(), process=TASK_MANAGER_MB)) as cluster,
    ):
        addresses = cluster.addresses
        engine = FlinkEngine({"gateway": addresses.flink_gateway, "jobmanager": addresses.flink_rest})
        log = open_log(Path(folder), technology="kafka", options={"kafka": addresses.kafka})
        well = list[bool]()
        if not options.without_million:  # first: it wants the most memory of a TaskManager
            many = million_query()
            print(many.name, end=", ")
            well.append(compare(engine, log, [many], {many.name: on_duckdb(many)}, options.parallelism[-1]))
        well += [compare(engine, log, queries, expected, one) for one in options.parallelism]
        log.close()
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
