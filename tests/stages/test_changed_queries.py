"""A query that changes while it runs: in the process over SQLite, and as a job of a real Flink over a real Kafka, to the same end."""

from collections.abc import Generator
from pathlib import Path
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest

from headrace.cluster import LocalCluster
from headrace.control.deletion import runs_elsewhere
from headrace.control.performing import perform
from headrace.control.requests import Request, RequestOutcome, fetch_outcome, submit
from headrace.events.schema import Column, RowSchema
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.resource_id import ResourceId
from headrace.stages.context import Backends, StageContext
from headrace.stages.topology import Topology
from headrace.stages.transform.options import TransformOptions
from headrace.stages.transform.running_job import discard_job, read_job
from headrace.stages.transform.spec import transform_spec
from headrace.testing.query_desk import COUNTS, MINUTE, SCHEMA, SUMS, Desk, numbers
from headrace.testing.resource_ids import finetuner_id

STAGE = "transform/default.desk"
GROWN = RowSchema((*SCHEMA.columns, Column("venue", "STRING")))


@pytest.fixture(params=["duckdb", pytest.param("flink", marks=[pytest.mark.slow, pytest.mark.server])])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Desk]:
    if request.param == "duckdb":
        found = Desk.in_the_process(tmp_path)
    else:
        found = Desk.on_the_cluster(tmp_path, request.getfixturevalue("flink_cluster"))
    yield found
    found.close()


def test_a_query_without_windows_continues_where_the_previous_one_stopped(desk: Desk) -> None:
    desk.feed(1, 2, 3)
    desk.run("SELECT price AS n FROM source_stream WHERE price < 3", [1, 2])
    desk.feed(4, 5)
    found = desk.run("SELECT price * 100 AS n FROM source_stream WHERE price > 3", [400, 500])
    assert numbers(found) == [1, 2, 400, 500]
    assert [record.id for record in found] == ["trades:1", "trades:2", "trades:4", "trades:5"]
    assert desk.hears("continues where the previous one stopped")


def test_a_query_with_windows_that_changes_restarts_at_the_start_of_its_inputs(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(3)
    found = desk.run(SUMS, [1 + 2, 3])
    assert len({record.id for record in found}) == len(found)
    assert desk.hears("restarted at the start")


def test_what_the_former_query_had_finished_is_taken_in_before_the_new_one_begins(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    found = desk.run("SELECT price * 100 AS n FROM source_stream", [100, 200, 300])
    assert numbers(found) == [2, 100, 200, 300]


def test_the_same_query_in_another_lay_out_keeps_its_open_windows(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(2, 3)
    assert numbers(desk.run(COUNTS.replace("SELECT", "-- counts\nselect"), [2, 2])) == [2, 2]


def test_a_query_with_windows_goes_on_when_its_source_has_got_another_column(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(2, 3)
    assert numbers(desk.run(COUNTS, [2, 2], schema=GROWN)) == [2, 2]


def test_a_query_begins_at_the_time_that_is_declared(desk: Desk) -> None:
    desk.feed(1, 2, 3, 4)
    assert numbers(desk.run("SELECT price AS n FROM source_stream", [3, 4], start_ms=3 * MINUTE)) == [3, 4]
    desk.feed(4, 5)
    found = desk.run(SUMS, [3, 4 + 5], start_ms=3 * MINUTE)
    assert 1 not in numbers(found)


def test_other_resources_take_the_windows_of_the_query_over(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(2, 3)
    assert numbers(desk.run(COUNTS, [2, 2], parallelism=2)) == [2, 2]


@pytest.mark.slow
def test_no_savepoint_is_left_of_a_job_that_was_replaced_and_none_of_one_that_is_discarded(
    tmp_path: Path, flink_cluster: LocalCluster
) -> None:
    desk = Desk.on_the_cluster(tmp_path, flink_cluster)
    try:
        desk.feed(1, 1, 2)
        desk.run(COUNTS, [2])
        desk.feed(2, 3)
        desk.run(COUNTS, [2, 2], parallelism=2)
        seen = set[str]()
        while (job := read_job(desk.log, STAGE)) is not None and (job.started_from or job.unwanted):
            seen.update(job.places)
            desk.step()
        assert job is not None
        assert [one for one in seen - {job.checkpoint} if (Path(urlsplit(one).path) / "_metadata").exists()] == []
        assert any("savepoint" in one for one in seen)
        assert desk.jobs is not None
        assert discard_job(desk.log, desk.jobs, STAGE, desk.job_name()) > 0
        assert read_job(desk.log, STAGE) is None
        assert not (Path(urlsplit(job.checkpoint).path) / "_metadata").exists()
    finally:
        desk.close()


@pytest.mark.slow
def test_a_deleted_query_leaves_no_job_behind_and_goes_on_once_it_is_applied_again(
    tmp_path: Path, flink_cluster: LocalCluster
) -> None:
    desk = Desk.on_the_cluster(tmp_path, flink_cluster)
    try:
        desk.feed(1, 1, 2)
        desk.run(COUNTS, [2])
        assert desk.stage is not None
        desk.stage.close()
        assert desk.running_job() is not None, "closing the stage leaves it running"
        found = flink_cluster.addresses
        streams = {"gateway": found.flink_gateway, "jobmanager": found.flink_rest}
        context = StageContext(desk.log, "t", tmp_path, Backends("kafka", {}, "flink", streams))
        owner = ResourceId("StreamFinetuner", "default", "desk")
        topology = Topology((transform_spec(TransformOptions(finetuner_id("desk"), COUNTS, ())),))
        assert runs_elsewhere(topology, owner, context.backends)
        key = submit(desk.log, Request("delete", str(owner)), SYSTEM_CLOCK)
        perform(key, Request("delete", str(owner)), topology, context)
        assert fetch_outcome(desk.log, key) == RequestOutcome("StreamFinetuner/desk deleted", 0, ANY)
        assert desk.running_job() is None
        desk.feed(2, 3)
        assert numbers(desk.run(COUNTS, [2, 2])) == [2, 2], "each window once, also the one that was open"
    finally:
        desk.close()


def test_the_end_of_the_source_closes_the_windows_of_the_new_query(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(3)
    desk.end()
    assert numbers(desk.run(SUMS, [1 + 2, 3, 4]))[-3:] == [1 + 2, 3, 4]
