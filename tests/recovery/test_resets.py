"""A reset makes everything again from one place on: once, with the same outcome, and nothing upstream of it."""

import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from headrace.control.readers import settle_readers
from headrace.control.resource_store import ResourceStore
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.kinds.catalog import load
from headrace.log.registry import open_log
from headrace.promotion import registry
from headrace.stages.stage import read_statuses
from headrace.stages.topology import Topology
from headrace.stages.train.train_state import read_train_state
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline
from headrace.testing.resource_ids import finetuner_id

from .reset_desk import LayOut, ResetDesk

pytestmark = pytest.mark.slow
DESK = "StreamFinetuner/default/desk"


def weights(desk: ResetDesk, name: str = "desk") -> str | None:
    log = open_log(desk.state)
    try:
        state = read_train_state(log, finetuner_id(name))
        return state.weights_sha256 if state else None
    finally:
        log.close()


def versions(desk: ResetDesk) -> tuple[set[str], str]:
    log = open_log(desk.state)
    try:
        found = registry.load(log, finetuner_id("desk"))
        assert found
        return {one.name for one in found[0].versions}, found[0].served
    finally:
        log.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> ResetDesk:
    from .conftest import lay_out

    desk = ResetDesk(
        "chain", tmp_path_factory.mktemp("chain") / "job", lambda name, folder: lay_out(name, folder, request)
    )
    desk.run()
    return desk


@pytest.fixture
def chain(finished: ResetDesk, tmp_path: Path) -> ResetDesk:
    """Two finetuners in a chain and a sink, as far as they come."""
    shutil.copytree(finished.folder, tmp_path / "job", symlinks=True)
    copied = object.__new__(ResetDesk)
    copied.folder, copied.state = tmp_path / "job", tmp_path / "job" / "state"
    return copied


@pytest.mark.parametrize(
    ("resource", "start"),
    [("StreamConnector/default/questions", "source"), (DESK, "source"), (DESK, "rows"), (DESK, "labels")],
)
def test_a_reset_makes_the_same_again_once(resource: str, start: str, chain: ResetDesk) -> None:
    before, first = chain.contents(), {name: weights(chain, name) for name in ("desk", "second")}
    names, _ = versions(chain)
    assert chain.perform("reset", resource, start).exit_code == 0
    assert not chain.records("default.desk.examples")
    assert weights(chain) is None
    chain.run()
    assert chain.contents() == before
    assert {name: weights(chain, name) for name in ("desk", "second")} == first
    assert names <= versions(chain)[0], "versions of before are kept"


def test_a_reset_of_the_model_leaves_rows_and_the_second_finetuner_alone(chain: ResetDesk) -> None:
    before, scores, second = chain.contents(), len(chain.records("default.desk.scores")), weights(chain, "second")
    first, served = weights(chain), versions(chain)[1]
    assert chain.perform("reset", DESK, "model").exit_code == 0
    assert weights(chain) is None
    assert versions(chain)[1] == served
    assert chain.contents() == before
    chain.run()
    assert (weights(chain), weights(chain, "second")) == (first, second)
    assert len(chain.records("default.desk.scores")) == scores


def test_a_sink_downstream_writes_everything_again_behind_what_it_wrote(chain: ResetDesk) -> None:
    before = written(chain)
    assert chain.perform("reset", DESK, "model").exit_code == 0
    chain.run()
    assert sorted(written(chain)) == sorted(2 * before)


def written(desk: ResetDesk) -> list[str]:
    """Whose scores the sink wrote."""
    files = [one for one in sorted((desk.folder / "out").iterdir()) if not one.name.startswith(".")]
    return [json.loads(line)["_id"] for file in files for line in file.read_text().splitlines()]


def test_a_place_that_the_resource_does_not_have_is_refused_and_changes_nothing(chain: ResetDesk) -> None:
    before = chain.contents()
    outcome = chain.perform("reset", DESK, "knowledge")
    assert outcome.exit_code == 4
    assert "Use one of: rows, prompt, labels, model" in outcome.message
    assert chain.contents() == before


@pytest.mark.parametrize(("start", "asks_again"), [("rows", False), ("labels", True)])
def test_only_a_reset_of_the_labels_asks_the_teacher_again(
    start: str, asks_again: bool, tmp_path: Path, lay_out_job: LayOut
) -> None:
    desk = ResetDesk("kills", tmp_path / "job", lay_out_job, questions=20)
    desk.run()
    calls, examples = desk.spent().calls, len(desk.records("default.desk.examples"))
    assert calls == examples == 20
    assert desk.perform("reset", DESK, start).exit_code == 0
    desk.run()
    assert desk.spent().calls == (2 * calls if asks_again else calls)
    assert len(desk.records("default.desk.examples")) == examples


def test_a_purge_leaves_nothing_of_a_finetuner_and_everything_of_its_source(
    tmp_path: Path, lay_out_job: LayOut
) -> None:
    desk = ResetDesk("kills", tmp_path / "job", lay_out_job, questions=20)
    desk.run()
    events = len(desk.records("default.questions.events"))
    outcome = desk.perform("purge", DESK)
    assert outcome.exit_code == 0
    assert int(re.findall(r"([\d,]+) bytes freed", outcome.message)[0].replace(",", "")) > 10_000
    log = open_log(desk.state)
    try:
        left = {info.spec.name for info in log.topics()}
        assert not [name for name in left if name.startswith("default.desk.")]
        assert not [one.group for one in log.groups() if one.group.endswith("/default.desk")]
        assert not [owner for owner in ("train", "label", "prompt", "transform") if log.state(f"{owner}/default.desk")]
        assert registry.load(log, finetuner_id("desk")) is None
    finally:
        log.close()
    assert not (desk.state / "versions" / "default.desk").exists()
    assert not (desk.state / "checkpoints" / "default.desk").exists()
    assert desk.spent().calls == 0
    assert len(desk.records("default.questions.events")) == events
    desk.run()
    assert desk.spent().calls == 20


def test_a_finetuner_that_is_deleted_and_applied_again_makes_every_row_prompt_and_example_once(
    tmp_path: Path, lay_out_job: LayOut
) -> None:
    desk = ResetDesk("kills", tmp_path / "job", lay_out_job, questions=30)
    file = desk.folder / "questions-1.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:20]))
    desk.run()
    before = desk.contents()
    with closing(open_log(desk.state)) as log:
        store = ResourceStore(log)
        store.apply(load([str(desk.folder / "job.yaml")]).resources, 0)
        deleted = next(one for one in store.all() if one.kind == "StreamFinetuner")
        store.delete(deleted.id)
        without = Topology(tuple(one for one in desk.topology.specs if one.id != deleted.id))
        settle_readers(log, without, "t", SYSTEM_CLOCK)
    file.write_text("".join(lines))
    with Pipeline(without, desk.state, learner=open_light_learner) as pipeline:
        pipeline.run()
    assert {name: len(made) for name, made in desk.contents().items()} == {
        name: 30 if name.endswith(".events") else len(made) for name, made in before.items()
    }
    with closing(open_log(desk.state)) as log:
        ResourceStore(log).apply([deleted], 0)
        settle_readers(log, desk.topology, "t", SYSTEM_CLOCK)
        assert [one for one in read_statuses(log) if "input" in one.stage] == []
    desk.run()
    after = desk.contents()
    for name in ("default.desk.rows", "default.desk.prompts", "default.desk.examples"):
        assert len(before[name]) == 20
        assert after[name][:20] == before[name]
        assert len(after[name]) == len({one[0] for one in after[name]}) == 30
    assert desk.spent().calls == 30
