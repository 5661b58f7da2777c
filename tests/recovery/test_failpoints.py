"""Killed at any commit of any stage, the job comes to the same topics, registries, files and weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.testing.failpoints import NAMES, Kill, Killed, killing
from headrace.testing.pipeline import Pipeline, differences, snapshot

POINTS = {
    "chain": {
        "ingest.commit.before": (6,), "ingest.commit.after": (11,),
        "transform.begin.before": (2,), "transform.begin.after": (1,), "transform.commit.before": (12,),
        "prompt.commit.before": (4,), "prompt.commit.after": (15,), "label.commit.before": (9,),
        "train.registry.before": (1,), "train.registry.after": (2,), "train.commit.before": (3, 17), "train.commit.after": (1, 12),
        "store.put.before": (1, 14), "store.put.after": (22,),
        "sink.commit.before": (2,), "sink.publish.before": (2,), "sink.publish.after": (4,), "sink.renamed": (1,),
        "log.commit.before": (31,), "log.commit.within": (3,), "log.commit.after": (130,),
    },
    "windows": {
        "ingest.commit.after": (12,), "transform.commit.before": (7, 12), "transform.commit.after": (3,),
        "train.commit.before": (8,), "sink.prepared": (6,), "sink.commit.after": (11,), "sink.renamed": (2,), "log.commit.within": (50,),
    },
    "teacher": {
        "teacher.reserve.before": (40,), "teacher.reserve.after": (1,), "teacher.answer.before": (64,), "teacher.answer.after": (120,),
        "teacher.commit.within": (30,),
        "label.commit.before": (2,), "label.commit.after": (4,), "train.reask.before": (1,), "train.reask.after": (1,),
        "train.commit.before": (3,), "store.put.after": (4,),
    },
}  # fmt: skip
CASES = [(job, name, nth) for job, points in POINTS.items() for name, times in points.items() for nth in times]


def test_at_least_forty_places_are_killed_at_and_every_failpoint_of_the_job_is_among_them():
    assert len(set(CASES)) >= 40
    others = ("serve.", "ingest.idle.", "ingest.confirm.", "teacher.renew.")
    elsewhere = {name for name in NAMES if name.startswith(others)}
    assert {name for _, name, _ in CASES} == set(NAMES) - elsewhere


def run_to_death(dead: Pipeline) -> None:
    dead.open()
    dead.run()


@pytest.mark.slow
@pytest.mark.parametrize(("job", "name", "nth"), CASES)
def test_a_kill_changes_nothing(job: str, name: str, nth: int, scenario: Callable[[str], Any], tmp_path: Path):
    known = scenario(job)
    folder = tmp_path / "job"
    found = known.copy(folder)
    dead = known.pipeline(found, folder)
    try:
        with killing(Kill(name, nth)) as kill, pytest.raises(Killed):
            run_to_death(dead)
        assert kill.struck
        with known.pipeline(found, folder, holder="another") as alive:
            alive.run()
        assert differences(snapshot(found, folder / "state"), known.undisturbed) == []
    finally:
        dead.close()
