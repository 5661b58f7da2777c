"""Jobs on a real Flink: started once, watched, stopped, resumed."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from headrace.cluster import LocalCluster
from headrace.events.schema import RowSchema
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import InvalidDeclarationError, InvalidQueryError, NotFoundError, UnavailableError
from headrace.log.topic_log import ExternalTable
from headrace.streams.flink.engine import FlinkEngine
from headrace.streams.flink.gateway import Session
from headrace.streams.flink.refusals import refused
from headrace.streams.flink.sql.job_sql import JobSql
from headrace.streams.stream_engine import QueryPlan, QuerySpec
from headrace.streams.stream_job import JobOptions, JobSpec, JobStatus
from headrace.testing.cluster import running

pytestmark = pytest.mark.slow
NAMES = (f"engine-test-{number}" for number in count())
TABLES = (
    "CREATE TEMPORARY TABLE numbers (x INT) WITH ('connector' = 'datagen', 'rows-per-second' = '20')",
    "CREATE TEMPORARY TABLE nowhere (x INT) WITH ('connector' = 'blackhole')",
)
PATIENCE_SECONDS = 60.0


@dataclass
class Jobs:
    """An engine and jobs by hand-written statements."""

    cluster: LocalCluster
    engine: FlinkEngine

    def spec(self, sql: str = "SELECT x FROM numbers", name: str = "", parallelism: int = 1) -> JobSpec:
        plan = QueryPlan(sql, "", "stateless", (), RowSchema(()))
        options = JobOptions(parallelism=parallelism, checkpoint_interval_ms=200)
        return JobSpec(
            name or next(NAMES), QuerySpec(sql, ()), plan, {}, {}, ExternalTable("kafka", "nowhere", {}), options
        )

    def written(self, insert: str = "SELECT x FROM numbers", tables: tuple[str, ...] = TABLES) -> JobSql:
        return JobSql(tables, f"INSERT INTO nowhere {insert}", "")

    def start(self, spec: JobSpec, savepoint: str | None = None) -> str:
        return self.engine.submit_sql(spec, self.written(), savepoint)

    def until(self, job_id: str, enough: Callable[[JobStatus | None], bool]) -> JobStatus:
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while not enough(status := self.engine.status(job_id)):
            assert SYSTEM_CLOCK.monotonic() < deadline, status
            SYSTEM_CLOCK.sleep(0.1)
        assert status is not None
        return status


def engine_of(cluster: LocalCluster) -> FlinkEngine:
    addresses = cluster.addresses
    return FlinkEngine({"gateway": addresses.flink_gateway, "jobmanager": addresses.flink_rest})


@pytest.fixture
def jobs(flink_cluster: LocalCluster) -> Generator[Jobs]:
    """Its jobs are cancelled afterwards."""
    made = Jobs(flink_cluster, engine_of(flink_cluster))
    yield made
    for one in made.engine.job_manager.all_jobs():
        if one.name.startswith("engine-test-") and not one.over:
            made.engine.cancel(one.job_id)


def test_a_job_is_stopped_with_a_savepoint_and_resumed_from_it(jobs: Jobs):
    spec = jobs.spec()
    first = jobs.start(spec)
    status = jobs.until(first, lambda one: one is not None and one.checkpoints > 0)
    assert (status.state, status.restarts) == ("running", 0)
    assert f"{first}/chk-" in status.checkpoint
    assert status.checkpoint_age_ms is not None
    place = jobs.engine.stop(first)
    assert jobs.until(first, lambda one: one is not None).state == "finished"
    assert jobs.engine.stop(first) == place  # a lost answer can be requested again
    second = jobs.start(spec, place)
    assert second != first
    assert jobs.until(second, lambda one: one is not None and one.state == "running").checkpoint


def test_a_savepoint_is_deleted_once_and_for_all(jobs: Jobs):
    job_id = jobs.start(jobs.spec())
    jobs.until(job_id, lambda one: one is not None and one.checkpoints > 0)
    place = jobs.engine.stop(job_id)
    folder = Path(place.removeprefix("file:"))
    assert (folder / "_metadata").is_file()
    jobs.engine.discard(place)
    assert not (folder / "_metadata").exists()
    jobs.engine.discard(place)  # no error: it is gone already


def test_a_job_whose_name_runs_is_not_started_again(jobs: Jobs):
    spec = jobs.spec()
    assert jobs.engine.find(spec.name) is None
    job_id = jobs.start(spec)
    assert jobs.start(spec) == job_id
    found = jobs.engine.find(spec.name)
    assert found is not None
    assert found.job_id == job_id
    jobs.engine.cancel(job_id)
    assert jobs.engine.find(spec.name) is None
    jobs.engine.cancel(job_id)  # no error: it is gone already


def test_unknown_jobs_have_no_status_and_cannot_be_stopped(jobs: Jobs):
    unknown = "0" * 32
    assert jobs.engine.status(unknown) is None
    jobs.engine.cancel(unknown)
    with pytest.raises(NotFoundError, match="knows no job"):
        jobs.engine.stop(unknown)


def test_a_job_without_slots_is_refused_with_what_it_needs_and_leaves_nothing_behind(jobs: Jobs):
    spec = jobs.spec(parallelism=500)
    with pytest.raises(UnavailableError, match=r"needs 500 slots and Flink has \d+ free of \d+") as caught:
        jobs.start(spec)
    assert "parallelism" in (caught.value.next_step or "")
    assert jobs.engine.job_manager.jobs(spec.name) == []


def test_a_refused_query_says_flinks_reason_and_the_place_in_the_users_sql(jobs: Jobs):
    spec = jobs.spec("SELECT\n  FOO(x) FROM numbers")
    with pytest.raises(InvalidQueryError, match=r"function signature FOO") as caught:
        jobs.engine.submit_sql(spec, jobs.written("SELECT FOO(x) FROM numbers"))
    assert caught.value.where == "line 2, column 3"
    assert "\tat " not in str(caught.value)


def test_a_savepoint_that_is_gone_is_not_found_and_no_job_is_left_that_would_stop_a_new_job_manager(jobs: Jobs):
    spec = jobs.spec()
    with pytest.raises(NotFoundError, match="nowhere is gone"):
        jobs.start(spec, "file:///nowhere")
    assert jobs.engine.job_manager.jobs(spec.name) == []


def test_a_savepoint_that_flink_itself_misses_is_not_found_either():
    trace = (
        "org.apache.flink.util.FlinkException: Failed to execute job 'bars'.\n\tat org.apache.flink.Some.call(Some.java:1)\n"
        "Caused by: org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.\n\t... 3 more\n"
        "Caused by: java.util.concurrent.CompletionException: java.io.FileNotFoundException: Cannot find checkpoint or savepoint "
        "file/directory 's3://b/sp' on file system 's3'."
    )
    error = refused(trace, "SELECT 1", "s3://b/sp")
    assert isinstance(error, NotFoundError)
    assert "s3://b/sp is gone" in str(error)
    assert "_DIRTY.json" in str(error)


def test_a_missing_jar_is_named(jobs: Jobs):
    tables = (TABLES[0], "CREATE TEMPORARY TABLE nowhere (x INT) WITH ('connector' = 'upsert-fafka')")
    with pytest.raises(InvalidDeclarationError, match="'upsert-fafka': its jar is missing"):
        jobs.engine.submit_sql(jobs.spec(), jobs.written(tables=tables))


def test_an_expired_session_is_opened_again_once(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    run, closed = Session.run, []

    def run_late(self: Session, statement: str, *rest: Any):
        if statement.startswith("INSERT") and not closed:
            closed.append(statement)
            self.close()  # on the real gateway: what its idle timeout does
        return run(self, statement, *rest)

    monkeypatch.setattr(Session, "run", run_late)
    job_id = jobs.start(jobs.spec())
    assert closed
    assert jobs.until(job_id, lambda one: one is not None).job_id == job_id


def test_a_memory_size_that_the_cluster_lacks_is_told(jobs: Jobs):
    wanted = ("processMemorySize", "flinkMemorySize", "managedMemorySize")
    notes = jobs.engine.check_resources(dict.fromkeys(wanted, "65536m"))
    assert [note.split()[0] for note in notes] == list(wanted)
    assert "taskmanager.memory.process.size" in notes[0]
    assert jobs.engine.check_resources(dict.fromkeys(wanted, "1m")) == ()


def test_servers_that_do_not_answer_and_wrong_options_say_what_to_do():
    engine = FlinkEngine({"gateway": "http://127.0.0.1:1", "jobmanager": "http://127.0.0.1:1"})
    with pytest.raises(UnavailableError, match=r"JobManager at http://127.0.0.1:1 is unreachable") as caught:
        engine.find("any")
    assert "flink_jobmanager" in (caught.value.next_step or "")
    with pytest.raises(InvalidDeclarationError, match="no option 'gatewy'"):
        FlinkEngine({"gatewy": "http://127.0.0.1:1"})
    with pytest.raises(InvalidDeclarationError, match="is not a URL"):
        FlinkEngine({"gateway": "127.0.0.1:1"})


@pytest.mark.kill
def test_a_killed_task_manager_is_counted_and_the_job_comes_back(jobs: Jobs):
    job_id = jobs.start(jobs.spec())
    jobs.until(job_id, lambda one: one is not None and one.checkpoints > 0)
    with running(jobs.cluster):
        jobs.cluster.kill("taskmanager")
        jobs.until(job_id, lambda one: one is not None and one.state == "restarting" and one.message != "")
        jobs.cluster.start("taskmanager")
        status = jobs.until(job_id, lambda one: one is not None and one.state == "running" and one.restarts > 0)
        assert status.message


@pytest.mark.kill
def test_a_lost_job_manager_is_unavailable_and_its_job_is_not_started_twice(jobs: Jobs):
    spec = jobs.spec()
    job_id = jobs.start(spec)
    jobs.until(job_id, lambda one: one is not None and one.checkpoints > 0)
    with running(jobs.cluster):
        jobs.cluster.kill("jobmanager")
        with pytest.raises(UnavailableError):
            jobs.engine.status(job_id)
        jobs.cluster.start("jobmanager")
        assert jobs.start(spec) == job_id
        jobs.until(job_id, lambda one: one is not None and one.state == "running")


@pytest.mark.kill
def test_without_a_gateway_nothing_is_started_and_a_running_job_is_still_watched(jobs: Jobs):
    job_id = jobs.start(jobs.spec())
    with running(jobs.cluster):
        jobs.cluster.kill("gateway")
        with pytest.raises(UnavailableError, match="SQL gateway"):
            jobs.start(jobs.spec())
        assert jobs.engine.status(job_id) is not None
