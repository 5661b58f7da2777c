"""The corpus on a real Flink: every row as in the process. A sample of it, unless CORPUS=whole."""

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
from headrace.testing.job_conformance import ONE, TWO, JobConformance


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
