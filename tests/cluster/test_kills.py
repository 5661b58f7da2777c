"""Each server may be killed: it comes back with what it had."""

from typing import Any

import pytest

from headrace.cluster import LocalCluster
from headrace.testing.cluster import running
from headrace.testing.cluster_sql import FlinkSql

pytestmark = [pytest.mark.kill, pytest.mark.slow]


def test_a_killed_broker_has_every_acknowledged_record_when_it_is_back(
    flink_cluster: LocalCluster, numbers: Any
) -> None:
    here = numbers(flink_cluster.addresses.kafka)
    here.create("killed-broker")
    with running(flink_cluster):
        here.write("killed-broker", 1_000)
        flink_cluster.kill("broker")
        assert not flink_cluster.alive("broker")
        assert not flink_cluster.answers("broker")
        flink_cluster.start("broker")
        assert here.read("killed-broker") == list(range(1_000))


def test_a_killed_task_manager_takes_its_job_up_from_a_checkpoint(
    flink_cluster: LocalCluster, flink: FlinkSql, job: str
) -> None:
    with running(flink_cluster):
        flink_cluster.kill("taskmanager")
        before = flink.latest_checkpoint(job)
        flink_cluster.start("taskmanager")
        after = flink.wait_for_checkpoint(job, after=before)
        assert after["counts"]["restored"] >= 1


def test_a_killed_job_manager_finds_its_job_and_its_checkpoint_again(
    flink_cluster: LocalCluster, flink: FlinkSql, job: str
) -> None:
    with running(flink_cluster):
        before = flink.latest_checkpoint(job)
        flink_cluster.kill("jobmanager")
        flink_cluster.start("jobmanager")
        after = flink.wait_for_checkpoint(job, after=before)
        assert after["latest"]["restored"]["id"] >= before
        flink.wait_until_running(job)


def test_a_job_goes_on_without_the_gateway_that_submitted_it(
    flink_cluster: LocalCluster, flink: FlinkSql, job: str
) -> None:
    with running(flink_cluster):
        flink_cluster.kill("gateway")
        flink.wait_for_checkpoint(job, after=flink.latest_checkpoint(job))
        flink_cluster.start("gateway")
        again = FlinkSql(flink_cluster)
        assert again.run("SELECT 1") == [[1]]
        again.close()


def test_a_killed_zookeeper_takes_no_job_with_it(flink_cluster: LocalCluster, flink: FlinkSql, job: str) -> None:
    with running(flink_cluster):
        before = flink.latest_checkpoint(job)
        flink_cluster.kill("zookeeper")
        flink_cluster.start("zookeeper")
        flink.wait_for_checkpoint(job, after=before + 1)
        flink.wait_until_running(job)


def test_a_job_goes_on_where_it_stood_after_down_and_up(flink_cluster: LocalCluster, flink: FlinkSql, job: str) -> None:
    before = flink.latest_checkpoint(job)
    flink_cluster.down()
    assert not any(flink_cluster.alive(name) for name in flink_cluster.names)
    flink_cluster.up()
    after = flink.wait_for_checkpoint(job, after=before)
    assert after["latest"]["restored"]["id"] >= before
