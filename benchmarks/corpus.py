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
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from headrace.foundation.errors import InvalidQueryError
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.streams.flink.engine import FlinkEngine
from headrace.testing.cluster import session_cluster
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.differences import FLINK
from headrace.testing.corpus.generated import generated_queries
from headrace.testing.corpus.million import million_query
from headrace.testing.corpus.on_jobs import JobFailedError, JobRunner
from headrace.testing.corpus.outcome import Outcome, differences, on_duckdb
from headrace.testing.corpus.queries import corpus


def compare(
    engine: FlinkEngine, log: TopicLog, queries: Sequence[CorpusQuery], expected: dict[str, Outcome], parallelism: int
) -> bool:
    """Prints a line; whether nothing differs but what is known to."""
    started, rows, equal, unknown = time.monotonic(), 0, 0, list[str]()
    same = 0
    runner = JobRunner(engine, log, queries, parallelism)
    for query in queries:
        wanted = expected[query.name]
        rows += wanted.total
        try:
            found = runner.outcome(query.name)
            told = differences(wanted, found)
            equal += wanted.equal_to(found)
        except (InvalidQueryError, JobFailedError) as error:
            told = [str(error)]
        same += not told
        if bool(told) != (query.name in FLINK):
            unknown.append("\n    ".join([query.name, *(told or ["is equal, and stands in the table of differences"])]))
    runner.close()
    seconds = time.monotonic() - started
    print(
        f"parallelism {parallelism}: {equal:,} of {rows:,} rows equal ({100 * equal / rows:.2f} %, wanted 100), "
        f"{same} of {len(queries)} queries whole, in {seconds:.0f} s"
    )
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
    addresses = session_cluster("kafka", "flink").addresses
    engine = FlinkEngine({"gateway": addresses.flink_gateway, "jobmanager": addresses.flink_rest})
    with tempfile.TemporaryDirectory(prefix="headrace-corpus-") as folder:
        log = open_log(Path(folder), technology="kafka", options={"kafka": addresses.kafka})
        well = [compare(engine, log, queries, expected, one) for one in options.parallelism]
        if not options.without_million:
            many = million_query()
            print(many.name, end=", ")
            well.append(compare(engine, log, [many], {many.name: on_duckdb(many)}, options.parallelism[-1]))
        log.close()
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
