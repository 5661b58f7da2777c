"""transform over a real Flink, killed at each of its commits and submits, and its job ended behind its back: every row once."""

from collections.abc import Generator
from pathlib import Path

import pytest

from headrace.cluster import LocalCluster
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import Record
from headrace.testing.failpoints import NAMES, Kill, Killed, killing
from headrace.testing.query_desk import COUNTS, Desk, numbers

PATIENCE_SECONDS = 60.0
SUBMITS = ("transform.submit.before", "transform.submit.after")
POINTS = [
    *((name, 1) for name in SUBMITS),
    *((f"transform.commit.{side}", nth) for nth in (1, 2) for side in ("before", "after")),
    *((f"log.commit.{side}", 3) for side in ("before", "after")),
]

pytestmark = pytest.mark.slow


@pytest.fixture
def desk(tmp_path: Path, flink_cluster: LocalCluster) -> Generator[Desk]:
    found = Desk.on_the_cluster(tmp_path, flink_cluster)
    yield found
    found.close()


def identities(records: list[Record]) -> list[tuple[str, bytes]]:
    return sorted((record.id, record.value) for record in records)


def test_a_kill_at_every_point_leaves_each_row_once(desk: Desk, tmp_path: Path) -> None:
    fed, expected, struck = 0, list[int](), set[str]()
    for name, nth in POINTS:
        kill = Kill(name, nth)
        for _ in range(8):  # each closes the window before it
            fed += 1
            desk.feed(fed, fed)
            expected += [2] if fed > 1 else []
            try:
                with killing(kill, (*NAMES, *SUBMITS)):
                    desk.run(COUNTS, expected)
            except Killed:
                struck.add(name)
                break
        desk.killed()
        if name in SUBMITS:
            end_the_job(desk)
    assert numbers(desk.run(COUNTS, expected)) == expected
    assert struck == {name for name, _ in POINTS}
    embedded = Desk.in_the_process(tmp_path / "embedded")
    for minute in range(1, fed + 1):
        embedded.feed(minute, minute)
    assert identities(list(desk.rows())) == identities(list(embedded.run(COUNTS, expected)))
    embedded.close()


def test_a_job_that_is_lost_goes_on_from_its_checkpoint_and_writes_nothing_twice(desk: Desk) -> None:
    expected: list[int] = []
    for minute in range(1, 5):
        desk.feed(*[minute] * minute)
        expected += [minute - 1] if minute > 1 else []
        desk.run(COUNTS, expected)
        if minute in (2, 3):
            end_the_job(desk)
    assert numbers(desk.rows()) == expected
    assert desk.progress()["restarts"] == 2


def end_the_job(desk: Desk) -> None:
    """As somebody does by hand on Flink's own page."""
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while (job := desk.running_job()) is not None:
        assert desk.jobs is not None
        desk.jobs.cancel(job)
        assert SYSTEM_CLOCK.monotonic() < deadline


def test_a_late_row_is_late_also_for_a_job_that_took_the_windows_over(desk: Desk) -> None:
    desk.feed(1, 1, 2, 5)
    desk.run(COUNTS, [2, 1])
    desk.run(COUNTS, [2, 1], parallelism=2)
    assert desk.hears("checkpoint")  # it runs
    desk.feed(1, 3)  # the first that the new job reads
    desk.feed(6, 6, 7)
    assert numbers(desk.run(COUNTS, [2, 1, 1, 2], parallelism=2)) == [2, 1, 1, 2]
    assert sorted(record.id for record in desk.late(2)) == ["trades:5", "trades:6"]  # of two instances, in either order


def test_a_row_behind_an_end_is_late_also_for_a_job_that_took_the_windows_over(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.end()
    desk.run(COUNTS, [2, 1])
    desk.run(COUNTS, [2, 1], parallelism=2)
    assert desk.hears("checkpoint")
    desk.feed(2)
    desk.feed(3, 3, 4)
    assert numbers(desk.run(COUNTS, [2, 1, 2], parallelism=2)) == [2, 1, 2]
    assert [record.id for record in desk.late(1)] == ["trades:4"]
