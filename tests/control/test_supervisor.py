"""The supervisor starts, restarts and ends the roles' processes, and holds them to their limits."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.connectors.source import SourceOptions
from headrace.control.role_log import LIMIT_BYTES, RoleLog
from headrace.control.supervisor import StateLock, Supervisor, orders
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import BusyError
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.spec import ingest_spec
from headrace.stages.limits import ResourceLimits
from headrace.stages.stage import read_statuses
from headrace.testing.resource_ids import connector_id

COUNTING = SourceOptions(
    connector_id("numbers"),
    "generator",
    {"seed": 1, "rate": 50, "count": 0, "fields": [{"name": "n", "kind": "sequence"}]},
)

INGEST = ingest_spec(IngestOptions(COUNTING))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def supervisor(log: TopicLog, tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor((INGEST,), log, tmp_path)
    yield made
    made.stop()


def until(supervisor: Supervisor, what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = SYSTEM_CLOCK.monotonic() + seconds
    while not what():
        assert SYSTEM_CLOCK.monotonic() < deadline, "it did not happen in time"
        supervisor.poll()
        SYSTEM_CLOCK.sleep(0.02)


def written(log: TopicLog) -> int:
    return next((t.end_offset for t in log.topics() if t.spec.name == "default.numbers.events"), 0)


@pytest.mark.kill
def test_a_killed_role_is_started_again_and_goes_on_where_it_was(supervisor: Supervisor, log: TopicLog):
    supervisor.start()
    until(supervisor, lambda: written(log) > 20)
    role = supervisor.roles[0]
    assert role.process is not None
    os.kill(role.process.pid, signal.SIGKILL)
    until(supervisor, lambda: role.restarts == 1)
    reasons = [c.message for s in read_statuses(log) if s.resource.startswith("Role/") for c in s.conditions]
    assert reasons == ["killed by SIGKILL."]
    before = written(log)
    until(supervisor, lambda: written(log) > before + 20)
    ids = [record.id for record in log.read("default.numbers.events", 0)]
    assert ids == [f"numbers:@{number}" for number in range(len(ids))]


@pytest.mark.kill
def test_a_role_above_its_memory_limit_is_killed_and_its_condition_says_so(supervisor: Supervisor, log: TopicLog):
    role = supervisor.roles[0]
    role.order = replace(role.order, limits=ResourceLimits(memory_bytes=8 << 20))
    supervisor.start()
    until(supervisor, lambda: role.restarts == 1)
    messages = [c.message for s in read_statuses(log) if s.resource.startswith("Role/") for c in s.conditions]
    assert "OOMKilled" in messages[0]
    assert "the limit is 8 MiB" in messages[0]


def test_a_role_gets_as_many_cores_and_threads_as_it_may_use(supervisor: Supervisor):
    import psutil

    role = supervisor.roles[0]
    role.order = replace(role.order, limits=ResourceLimits(cpu=1.0))
    supervisor.start()
    assert role.process is not None
    child = psutil.Process(role.process.pid)
    until(supervisor, lambda: len(child.cpu_affinity() or []) == 1)
    assert child.environ()["OMP_NUM_THREADS"] == "1"


def test_a_state_directory_has_one_supervisor(tmp_path: Path):
    held = StateLock(tmp_path)
    with pytest.raises(BusyError, match=str(os.getpid())):
        StateLock(tmp_path)
    held.release()
    StateLock(tmp_path).release()


def test_each_role_is_told_its_own_part_and_nothing_is_started_for_nothing(tmp_path: Path):
    assert list(orders((), tmp_path, "me")) == []
    one = list(orders((INGEST,), tmp_path, "me"))
    assert [order.process for order in one] == ["ingest"]


def test_the_logs_of_all_roles_are_bounded_also_of_those_that_are_gone(log: TopicLog, tmp_path: Path):
    gone = RoleLog(tmp_path, "train/default.former")
    with gone.open() as output:
        output.truncate(LIMIT_BYTES + 1)
    supervisor = Supervisor((), log, tmp_path)
    supervisor.poll()
    supervisor.stop()
    assert (gone.path.stat().st_size, gone.former.stat().st_size) == (0, LIMIT_BYTES)
