"""Groups hold retention back as long as their stage is declared, and continue where they were when it is declared again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.control.readers import RELEASED, missed, release_readers, restore_readers, settle_readers
from headrace.foundation.resource_id import ResourceId
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, GroupOffset, TopicLog, TopicSpec
from headrace.stages.stage import read_statuses
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.topology import NotReady, Topology
from headrace.testing.builders import append, new_records
from headrace.testing.clock import VirtualClock

DESK = ResourceId("StreamFinetuner", "default", "desk")
SPEC = StageSpec("train", DESK, None, reads=(Read("t"),))
NONE = frozenset[tuple[str, str]]()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def log(tmp_path: Path, clock: VirtualClock) -> Iterator[TopicLog]:
    log = open_log(tmp_path / "state", clock=clock)
    log.ensure_topic(TopicSpec("t", retention_ms=1000))
    append(log, "t", new_records(range(10)))
    log.commit(Commit(offsets=[GroupOffset(SPEC.name, "t", 6, hold=4)]))
    yield log
    log.close()


def start_after_retention(log: TopicLog, clock: VirtualClock) -> int:
    clock.sleep(10)
    log.trim(clock.now_ms())
    return log.topic("t").start_offset


def test_a_declared_reader_holds_retention_back(log: TopicLog, clock: VirtualClock) -> None:
    settle_readers(log, Topology((SPEC,)), "h", clock)
    assert start_after_retention(log, clock) == 4


def test_a_reader_whose_resource_is_gone_holds_nothing_and_keeps_its_place(log: TopicLog, clock: VirtualClock) -> None:
    settle_readers(log, Topology(), "h", clock)
    assert start_after_retention(log, clock) == 10
    assert log.offset(SPEC.name, "t") == 6


def test_a_reader_that_comes_back_in_time_holds_as_before(log: TopicLog, clock: VirtualClock) -> None:
    settle_readers(log, Topology(), "h", clock)
    assert log.groups("t")[0].hold == RELEASED + 4
    settle_readers(log, Topology((SPEC,)), "h", clock)
    assert log.groups("t") == [GroupOffset(SPEC.name, "t", 6, 0, 4)]
    assert start_after_retention(log, clock) == 4
    assert read_statuses(log) == []


def test_a_reader_that_comes_back_behind_the_start_says_how_much_it_missed(log: TopicLog, clock: VirtualClock) -> None:
    settle_readers(log, Topology(), "h", clock)
    start_after_retention(log, clock)
    restore_readers(log, (SPEC,), "h", clock)
    [status] = read_statuses(log)
    assert status.resource == str(DESK)
    assert status.conditions[0].reason == "BehindRetention"
    assert status.conditions[0].message == (
        "retention has dropped 4 records of t; train/default.desk starts behind them and will never read them"
    )


def test_a_new_reader_of_a_topic_whose_start_is_gone_says_how_much_it_misses(
    log: TopicLog, clock: VirtualClock
) -> None:
    log.commit(Commit(offsets=[GroupOffset(SPEC.name, "t", 6)]))
    settle_readers(log, Topology((SPEC,)), "h", clock)
    assert start_after_retention(log, clock) == 6
    sink = StageSpec("sink", DESK.sibling("StreamConnector", "out"), None, reads=(Read("t"), Read("not there yet")))
    assert [(one.spec, one.topic, one.records) for one in missed(log, (SPEC, sink))] == [(sink, "t", 6)]
    restore_readers(log, (SPEC, sink), "h", clock)
    [status] = read_statuses(log)
    assert (status.resource, status.conditions[0].reason) == (str(sink.id), "BehindRetention")


def test_a_new_reader_of_a_compacted_topic_misses_no_key_and_is_told_nothing(
    log: TopicLog, clock: VirtualClock
) -> None:
    log.ensure_topic(TopicSpec("t", retention_ms=1000, compacted=True))
    log.forget_group(SPEC.name)
    assert start_after_retention(log, clock) > 0
    assert missed(log, (SPEC,)) == []


def test_a_reader_whose_resource_is_not_ready_holds_on(log: TopicLog, clock: VirtualClock) -> None:
    settle_readers(log, Topology(not_ready=(NotReady(DESK, "SecretNotFound", "no key"),)), "h", clock)
    assert start_after_retention(log, clock) == 4


def test_a_reader_that_was_deleted_while_all_runs_is_released_at_the_second_look(
    log: TopicLog, clock: VirtualClock
) -> None:
    seen = release_readers(log, Topology(), "h", NONE)
    assert log.groups("t")[0].hold == 4, "its stage may still end"
    release_readers(log, Topology(), "h", seen)
    assert start_after_retention(log, clock) == 10


def test_a_topic_that_a_running_stage_no_longer_reads_is_released_and_the_stage_is_not_fenced(
    log: TopicLog, clock: VirtualClock
) -> None:
    log.ensure_topic(TopicSpec("another"))
    lease = log.acquire_lease(SPEC.name, "role")
    elsewhere = Topology((replace(SPEC, reads=(Read("another"),)),))
    seen = release_readers(log, elsewhere, "h", NONE)
    release_readers(log, elsewhere, "h", seen)
    assert start_after_retention(log, clock) == 10
    log.commit(Commit(offsets=[GroupOffset(SPEC.name, "another", 0)], lease=lease))


def test_a_topic_between_parts_of_one_stage_is_its_own(log: TopicLog, clock: VirtualClock) -> None:
    passing = Topology((replace(SPEC, reads=(), passes=("t",)),))
    seen = release_readers(log, passing, "h", NONE)
    release_readers(log, passing, "h", seen)
    assert start_after_retention(log, clock) == 4
