"""The corpus on a real Flink: every row as in the process. A sample of it, unless CORPUS=whole; `benchmarks/corpus.py` runs the whole too."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from headrace.cluster import LocalCluster
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.streams.flink.engine import FlinkEngine
from headrace.streams.stream_job import StreamJobEngine
from headrace.testing.corpus.corpus_query import FEATURES
from headrace.testing.corpus.differences import FLINK
from headrace.testing.corpus.on_jobs import JobRunner
from headrace.testing.corpus.sample import sample_of_one, sample_of_two
from headrace.testing.job_conformance import JobConformance

WHOLE = os.environ.get("CORPUS") == "whole"
ONE, TWO = (sample_of_one(1), sample_of_two(1)) if WHOLE else (sample_of_one(), sample_of_two())


def test_every_feature_is_in_the_sample() -> None:
    assert {query.feature for query in ONE.values()} >= {*FEATURES} - {"real trades"}
    assert {query.feature for query in TWO.values()} >= {"TUMBLE", "HOP", "SESSION", "join with a stream", "top-N"}


class TestFlink(JobConformance):
    known = FLINK

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, flink_cluster: LocalCluster) -> StreamJobEngine:
        found = flink_cluster.addresses
        return FlinkEngine({"gateway": found.flink_gateway, "jobmanager": found.flink_rest})

    @pytest.fixture(scope="class")
    @classmethod
    def log(cls, flink_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Generator[TopicLog]:
        folder: Path = tmp_path_factory.mktemp("corpus")
        log = open_log(folder, technology="kafka", options={"kafka": flink_cluster.addresses.kafka})
        yield log
        log.close()

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

    @pytest.mark.skipif(not WHOLE, reason="benchmarks/corpus.py asks it, and CORPUS=whole")
    def test_a_million_keys_at_once_give_the_same_rows(self, engine: StreamJobEngine, log: TopicLog) -> None:
        super().test_a_million_keys_at_once_give_the_same_rows(engine, log)
