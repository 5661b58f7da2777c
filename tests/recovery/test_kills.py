"""`kill -9` of every process at once, five times: the run that is left to end comes to what the undisturbed one came to."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.control.summary import topic_length
from headrace.events import topics
from headrace.log.registry import open_log
from headrace.stages.topology import Topology
from headrace.testing.pipeline import declared, differences, snapshot
from headrace.testing.real_kills import LIGHT, Moment, WholeRun
from headrace.testing.resource_ids import finetuner_id

SEED, KILLS, QUESTIONS = 7, 5, 600
START_SECONDS, RUN_SECONDS = 90, 150
ENVIRON = {"HEADRACE_TRACKING": "none", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def desk(tmp_path: Path, lay_out_job: Callable[[str, Path], None]) -> Path:
    """The folder of the job, laid out and not yet run."""
    folder = tmp_path / "job"
    folder.mkdir()
    lay_out_job("kills", folder)
    return folder


def run(folder: Path, moment: Moment | None) -> bool:
    """Runs the job to its end, or to the moment at which everything is killed. True: it was killed."""
    log = open_log(folder / "state")
    whole = WholeRun(folder / "job.yaml", folder / "state", environ=ENVIRON, words=folder / "words.txt", program=LIGHT)
    try:
        if moment and whole.kill_at(moment, log, timeout_seconds=START_SECONDS):
            return True
        code = whole.wait(timeout_seconds=RUN_SECONDS)
    finally:
        log.close()
    assert code == 0, (folder / "words.txt").read_text("utf-8")[-2_000:]
    return False


def moments(seed: int) -> list[Moment]:
    """Five in the order in which a run comes by them, from the first prompts to the last scores."""
    draw = random.Random(seed)
    names = [topics.prompts, topics.examples, topics.scores, topics.examples, topics.scores]
    places = sorted(draw.randrange(20, QUESTIONS - 20) for _ in names)
    return [Moment(name(finetuner_id("desk")), place) for name, place in zip(names, places, strict=True)]


def result(folder: Path) -> dict[str, object]:
    found: Topology = declared(folder / "job.yaml", folder / "state")
    return snapshot(found, folder / "state")


@pytest.mark.kill
@pytest.mark.timeout(600)
def test_five_kills_of_everything_change_no_topic_and_no_weight(desk: Path, tmp_path: Path):
    twin = tmp_path / "undisturbed"
    shutil.copytree(desk, twin, symlinks=True)
    run(twin, None)
    killed = sum(run(desk, moment) for moment in moments(SEED))
    run(desk, None)
    undisturbed = result(twin)
    assert differences(result(desk), undisturbed) == []
    assert len(undisturbed[topics.scores(finetuner_id("desk"))]) > QUESTIONS * 0.9  # type: ignore[arg-type]
    assert undisturbed["weights default/desk"]
    assert killed == KILLS
    assert topic_length_of(desk, topics.examples(finetuner_id("desk"))) == QUESTIONS + 1


def topic_length_of(folder: Path, topic: str) -> int:
    log = open_log(folder / "state")
    try:
        return topic_length(log, topic)
    finally:
        log.close()
