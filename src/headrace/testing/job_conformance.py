"""What an engine that runs queries as jobs on a cluster must do: give the rows of the engine in the process, every one.

A test module makes a subclass of `JobConformance` with class-scoped fixtures `engine` and `log`, and says in `known` what differs;
pytest runs the rest: a sample of the corpus, or with CORPUS=whole all of it. A query that differs is marked with its reason in one table; one that is equal all the same fails.
"""

import os
from collections.abc import Generator, Mapping
from typing import ClassVar

import pytest

from headrace.foundation.errors import InvalidQueryError
from headrace.log.topic_log import TopicLog
from headrace.streams.stream_job import StreamJobEngine
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.differences import Known
from headrace.testing.corpus.million import million_query
from headrace.testing.corpus.on_jobs import JobFailedError, JobRunner
from headrace.testing.corpus.outcome import differences, on_duckdb
from headrace.testing.corpus.sample import sample_of_one, sample_of_two

WHOLE = os.environ.get("CORPUS") == "whole"
ONE, TWO = (sample_of_one(1), sample_of_two(1)) if WHOLE else (sample_of_one(), sample_of_two())
"""The queries asked of jobs of one instance and of two, by name."""
MANY_KEYS = 20_000
"""As many as the TaskManager of a small cluster can hold; `benchmarks/corpus.py` asks a million."""


class JobConformance:
    """Subclass it with fixtures `engine` and `log`."""

    known: ClassVar[Mapping[str, Known]] = {}
    """By the query's name."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> StreamJobEngine:
        raise NotImplementedError("give the engine under test")

    @pytest.fixture(scope="class")
    @classmethod
    def log(cls) -> TopicLog:
        raise NotImplementedError("give a log that the engine can read")

    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, engine: StreamJobEngine, log: TopicLog) -> Generator[JobRunner]:
        found = JobRunner(engine, log, list(ONE.values()))
        yield found
        found.close()

    @pytest.fixture(scope="class")
    @classmethod
    def runner_of_two(cls, engine: StreamJobEngine, log: TopicLog) -> Generator[JobRunner]:
        found = JobRunner(engine, log, list(TWO.values()), parallelism=2)
        yield found
        found.close()

    @pytest.mark.parametrize("name", ONE)
    def test_a_job_gives_the_rows_of_the_engine_in_the_process(self, runner: JobRunner, name: str) -> None:
        self._compare(runner, ONE[name])

    @pytest.mark.parametrize("name", TWO)
    def test_a_job_of_two_instances_gives_the_same_rows(self, runner_of_two: JobRunner, name: str) -> None:
        self._compare(runner_of_two, TWO[name])

    def test_many_keys_at_once_give_the_same_rows(self, engine: StreamJobEngine, log: TopicLog) -> None:
        query = million_query(MANY_KEYS)
        alone = JobRunner(engine, log, [query], parallelism=2)
        try:
            self._compare(alone, query)
        finally:
            alone.close()

    def _compare(self, runner: JobRunner, query: CorpusQuery) -> None:
        expected, known = on_duckdb(query), self.known.get(query.name)
        kind, told = "equal", list[str]()
        try:
            found = runner.outcome(query.name)
        except InvalidQueryError as error:
            kind, told = "refused", [str(error)]
        except JobFailedError as error:
            kind, told = "fails", [str(error)]
        else:
            told = differences(expected, found)
            if told:
                kind = "late" if found.rows == expected.rows else "differs"
        wanted = known.kind if known else "equal"
        assert kind == wanted, "\n  ".join([f"{query.name}: {kind}, not {wanted}", query.spec.sql, *told])
        if known is not None:
            pytest.xfail(known.reason)
