from collections.abc import Generator

import pytest

from headrace.cluster import LocalCluster
from headrace.testing.cluster import flink_cluster, kafka_address  # noqa: F401
from headrace.testing.cluster_sql import FlinkSql


@pytest.fixture
def flink(flink_cluster: LocalCluster) -> Generator[FlinkSql]:  # noqa: F811
    client = FlinkSql(flink_cluster)
    yield client
    client.close()


@pytest.fixture
def job(flink: FlinkSql) -> Generator[str]:
    """A job that runs without end and has a complete checkpoint."""
    flink.run("SET 'execution.checkpointing.interval' = '500 ms'")
    flink.run("CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10')")
    flink.run("CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole')")
    (row,) = flink.run("INSERT INTO nowhere SELECT n FROM numbers")
    flink.wait_until_running(row[0])
    flink.wait_for_checkpoint(row[0])
    yield row[0]
    flink.wait_until_running(row[0])
    flink.cancel(row[0])
