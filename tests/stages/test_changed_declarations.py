"""Every option of a trainer is changed between two runs, and its effect observed: what was learned stays, what is declared acts."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.events import topics
from headrace.learning.anchors import AnchorOptions
from headrace.log.topic_log import Commit, GroupOffset, StateKey
from headrace.models.tiny import new_checkpoint
from headrace.promotion.gate import GateOptions
from headrace.stages.train.alias_commands import promote_now
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.pipeline import differences
from headrace.testing.resource_ids import finetuner_id

from .declared_desk import EXAMPLES, TEAMS, WORDS, DeclaredDesk, default_options

pytestmark = pytest.mark.slow  # together


def new_base(folder: Path, seed: int) -> Path:
    words = [*(f"my {word} 0 1 2 3 4 5 6" for word in WORDS), *TEAMS]
    new_checkpoint(folder, size="tiny", text=words * 5, seed=seed, vocabulary=512)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_base(tmp_path_factory.mktemp("base") / "model", 1)


@pytest.fixture
def desk(tmp_path: Path, base: Path) -> Iterator[DeclaredDesk]:
    desk = DeclaredDesk(tmp_path / "state", default_options(base))
    yield desk
    desk.close()


def learned(desk: DeclaredDesk, count: int = 84) -> None:
    desk.examples(count)
    desk.run()
    desk.lessons.clear()


# Learning

LESSONS: dict[str, tuple[Any, str, Callable[[DeclaredDesk], Any], Any]] = {
    "batch size": ("learning.learner.batch_size", "batchSize", lambda desk: [one.sequences for one in desk.lessons[:2]], 32),
    "accumulation": ("learning.learner.gradient_accumulation_steps", "gradientAccumulationSteps",
                     lambda desk: [one.sequences for one in desk.lessons[:2]], 4),
}  # fmt: skip


@pytest.mark.parametrize("name", LESSONS)
def test_a_round_has_the_declared_size_from_the_next_one_on(name: str, desk: DeclaredDesk) -> None:
    path, option, sizes, value = LESSONS[name]
    learned(desk)
    desk.declare(path, value)
    desk.examples(80)
    desk.run()
    assert all(size >= 2 * 32 for size in sizes(desk)), "each with as many replayed"
    assert desk.changes() == [{option: value}]


def test_the_learning_rate_acts_with_the_next_round_and_does_not_warm_up_again(desk: DeclaredDesk) -> None:
    learned(desk)
    desk.declare("learning.learner.learning_rate", 1e-3)
    desk.examples(16)
    desk.run()
    assert {one.report.learning_rate for one in desk.lessons} == {1e-3}
    assert desk.changes() == [{"learningRate": 1e-3}]


def test_warmup_steps_act_with_the_next_round(desk: DeclaredDesk) -> None:
    learned(desk, 40)
    desk.declare("learning.learner.warmup_steps", 1000)
    desk.examples(16)
    desk.run()
    assert all(one.report.learning_rate < 5e-3 / 50 for one in desk.lessons)


def test_epochs_act_with_the_next_round(desk: DeclaredDesk) -> None:
    learned(desk)
    desk.declare("learning.learner.epochs", 3)
    desk.examples(16)
    desk.run()
    assert {one.report.steps for one in desk.lessons} == {3}


def test_precision_and_threads_act_with_the_next_round_at_a_recorded_place(desk: DeclaredDesk) -> None:
    learned(desk)
    desk.declare("learning.learner.mixed_precision", value=True)
    desk.declare("learning.learner.threads", 2)
    desk.examples(16)
    desk.run()
    assert {(one.options.mixed_precision, one.options.threads) for one in desk.lessons} == {(True, 2)}
    assert desk.changes() == [{"mixedPrecision": True, "threads": 2}]
    assert desk.decisions("declaration")[1].last_offset == 84


def test_replayed_examples_per_fresh_one_act_with_the_next_round(desk: DeclaredDesk) -> None:
    learned(desk)
    desk.declare("learning.replay.per_fresh", 3.0)
    desk.examples(16)
    desk.run()
    assert {one.sequences for one in desk.lessons} == {8 + 24}


def test_a_larger_replay_buffer_fills_and_a_smaller_one_forgets_the_oldest(desk: DeclaredDesk) -> None:
    learned(desk)
    assert desk.progress["replay"] == 64
    desk.declare("learning.replay.capacity", 4096)
    desk.examples(80)
    desk.run()
    assert int(desk.progress["replay"]) > 100
    desk.declare("learning.replay.capacity", 8)
    desk.run()
    assert desk.progress["replay"] == 8
    assert desk.changes() == [{"replay.capacity": 4096}, {"replay.capacity": 8}]


@pytest.mark.parametrize("path", ["learning.input_max", "learning.output_max"])
def test_lengths_act_with_the_next_example(path: str, desk: DeclaredDesk) -> None:
    learned(desk)
    desk.declare(path, 1)
    desk.examples(8)
    desk.run()
    assert [one.source_offset for one in desk.dead()] == list(range(84, 92))


def test_anchors_are_as_many_as_declared_at_once(desk: DeclaredDesk) -> None:
    learned(desk, 400)
    assert int(desk.progress["anchors"]) > 4
    desk.declare("learning.anchors", AnchorOptions(2))
    desk.run()
    assert desk.progress["anchors"] == 2


# Promotion


def test_candidates_are_cut_as_often_as_declared_at_once(desk: DeclaredDesk) -> None:
    desk.declare("gate.candidate_every", 100_000)
    learned(desk)
    assert desk.decisions("cut") == []
    desk.declare("gate.candidate_every", 16)
    desk.examples(16)
    desk.run()
    assert [one.last_offset >= 84 for one in desk.decisions("cut")] == [True]


def test_alpha_acts_with_the_next_candidate(desk: DeclaredDesk) -> None:
    desk.declare("gate.alpha", 0.02)
    learned(desk, 40)
    assert desk.progress["onTrial"] == "candidate-1"
    desk.declare("gate.alpha", 0.2)
    desk.examples(300)
    desk.run()
    alphas = [one.details["alpha"] for one in desk.decisions("cut")]
    assert alphas[0] == pytest.approx(0.01)
    assert alphas[1] > 0.02
    [won, *_] = desk.decisions("promoted")
    assert won.difference
    assert won.difference.alpha == pytest.approx(0.02), "the trial that ran kept its level, two-sided"


def test_approval_by_hand_holds_back_a_candidate_that_is_on_trial(desk: DeclaredDesk) -> None:
    learned(desk, 40)
    assert desk.progress["onTrial"] == "candidate-1"
    desk.declare("gate.approval", "manual")
    desk.examples(300)
    desk.run()
    assert desk.decisions("promoted") == []
    assert desk.decisions("awaiting_approval")[0].subject == "v1"
    assert desk.registry().served == "v0"
    desk.declare("gate.approval", "auto")
    desk.examples(300)
    desk.run()
    assert desk.registry().served not in ("v0", "v1")


def test_max_rows_end_a_trial_that_runs(desk: DeclaredDesk) -> None:
    desk.declare("learning.learner.learning_rate", 1e-9)
    learned(desk, 84)
    assert desk.progress["onTrial"] == "candidate-1"
    desk.declare("gate.max_rows", 5)
    desk.examples(16)
    desk.run()
    assert "not shown to be better" in desk.decisions("rejected")[0].reason


def test_probation_rows_end_a_probation_that_runs(desk: DeclaredDesk) -> None:
    desk.declare("gate.probation_rows", 100_000)
    desk.examples(300)
    desk.run()
    assert desk.progress["onProbation"]
    assert desk.decisions("confirmed") == []
    desk.declare("gate.probation_rows", 1)
    desk.examples(16)
    desk.run()
    assert desk.decisions("confirmed")


def test_the_metric_acts_with_the_next_candidate(desk: DeclaredDesk) -> None:
    desk.declare("metric", "exact")
    learned(desk, 40)
    assert desk.progress["onTrial"] == "candidate-1"
    desk.declare("metric", "loss")
    desk.examples(300)
    desk.run()
    assert [one.details["metric"] for one in desk.decisions("cut")][:2] == ["exact", "loss"]
    [won, *_] = desk.decisions("promoted")
    assert won.subject == "v1"
    assert won.difference
    assert won.difference.mean * won.difference.rows == pytest.approx(round(won.difference.mean * won.difference.rows))


@pytest.mark.parametrize(("max_drop", "kind"), [(2.0, "promoted"), (0.0, "rejected")])
def test_how_far_anchors_may_fall_acts_on_the_candidate_that_is_on_trial(
    max_drop: float, kind: str, desk: DeclaredDesk
) -> None:
    desk.declare("metric", "loss")
    desk.declare("learning.anchors", AnchorOptions(1))
    desk.examples(40, wrong_anchors=True)
    desk.run()
    assert desk.progress["onTrial"] == "candidate-1"
    desk.declare("gate.max_drop", max_drop)
    desk.examples(300, wrong_anchors=True)
    desk.run()
    first = next(one for one in desk.decisions() if one.kind in ("promoted", "rejected"))
    assert first.anchors
    assert first.anchors.mean < 0
    assert first.kind == kind


def test_versions_are_kept_as_many_as_declared_at_once(desk: DeclaredDesk) -> None:
    desk.declare("gate", GateOptions(candidate_every=16, alpha=0.5, approval="manual"))
    desk.examples(900)
    desk.run()
    assert len(desk.registry().versions) > 3
    desk.declare("keep_versions", 1)
    desk.run()
    kept = desk.registry().versions
    assert len(kept) == 2, "the newest and the base, which is served"
    folders = [one for one in (desk.folder / "versions" / "default.desk").iterdir() if len(one.name) == 64]
    assert {one.name for one in folders} == {one.digest for one in kept}


def test_checkpoints_are_made_as_often_as_declared_at_once(desk: DeclaredDesk) -> None:
    learned(desk)
    before = desk.state().offset
    desk.declare("checkpoint_interval_ms", 3_600_000)
    desk.examples(8)
    desk.run()
    assert desk.state().offset == before
    desk.declare("checkpoint_interval_ms", 0)
    desk.run()
    assert desk.state().offset == before + 8
    assert desk.changes() == [], "it acts on nothing that is learned"


# What needs a reset


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("learning.learner.method", "lora", "method full → lora"),
        ("learning.learner.optimizer", "muon", "optimizer adamw → muon"),
        ("learning.learner.seed", 7, "seed 0 → 7"),
    ],
)
def test_what_needs_another_model_waits_for_a_reset_and_says_so(
    path: str, value: Any, said: str, desk: DeclaredDesk, tmp_path: Path
) -> None:
    learned(desk)
    twin = desk.twin(tmp_path / "twin")
    desk.declare(path, value)
    for one in (desk, twin):
        one.examples(80)
        one.run()
    assert desk.state().weights_sha256 == twin.state().weights_sha256
    found = desk.condition("DeclarationInForce")
    assert (found.status, found.reason) == ("False", "ResetNeeded")
    assert said in found.message
    assert "headrace reset StreamFinetuner/desk --from model" in found.message
    assert twin.condition("DeclarationInForce").status == "True"
    assert desk.changes() == []
    twin.close()


def test_another_base_model_waits_for_a_reset_though_the_former_folder_is_gone(
    tmp_path: Path, base: Path, desk: DeclaredDesk
) -> None:
    former = tmp_path / "former"
    shutil.copytree(base, former)
    desk.declare("learning.learner.base", former)
    learned(desk)
    shutil.rmtree(former)
    desk.examples(16)
    desk.run()
    assert desk.condition("DeclarationInForce").reason == "BaseModelMissing"
    desk.declare("learning.learner.base", new_base(tmp_path / "other", 2))
    desk.examples(16)
    desk.run()
    assert "another base model" in desk.condition("DeclarationInForce").message
    assert desk.state().offset == 84 + 32
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    desk.declare("learning.learner.base", moved)
    desk.run()
    assert desk.condition("DeclarationInForce").status == "True", "the same content at another path is the same base"


def reset_model(desk: DeclaredDesk) -> None:
    """What a reset of the model commits: no trainer's state, examples from the start, commands behind the last."""
    commands = topics.commands(finetuner_id("desk"))
    end = next(info.end_offset for info in desk.log.topics() if info.spec.name == commands)
    desk.log.commit(
        Commit(
            state={StateKey("train/default.desk", "state"): None},
            offsets=[GroupOffset("train/default.desk", EXAMPLES, 0), GroupOffset("train/default.desk", commands, end)],
        )
    )


def test_after_a_reset_the_model_begins_as_declared_and_versions_are_kept(tmp_path: Path, desk: DeclaredDesk) -> None:
    desk.declare("keep_versions", 50)
    desk.examples(300)
    desk.run()
    before = desk.registry()
    promote_now(desk.log, finetuner_id("desk"), "v0", "")
    desk.run()
    desk.declare("learning.learner.base", new_base(tmp_path / "other", 2))
    desk.declare("learning.learner.seed", 7)
    reset_model(desk)
    desk.run()
    after = desk.registry()
    assert after.base == f"v{before.next_number}"
    assert {one.name for one in before.versions} <= {one.name for one in after.versions}
    assert after.version(after.served).base == after.base
    assert desk.condition("DeclarationInForce").status == "True"
    assert desk.decisions("declaration")[-1].details["seed"] == 7
    assert desk.progress["examples"] == before_examples(desk)


def before_examples(desk: DeclaredDesk) -> int:
    """Of all examples those that are not held out."""
    anchors = desk.stage_anchors()
    return sum(not anchors.takes(f"root-{number}") for number in range(300)) // 8 * 8


# The place of a change


def test_the_first_declaration_is_recorded_with_all_its_values(desk: DeclaredDesk) -> None:
    learned(desk)
    [first] = desk.decisions("declaration")
    assert (first.subject, first.last_offset, first.manual) == ("declaration-1", 0, True)
    assert first.details["batchSize"] == 8
    assert first.details["replay.capacity"] == 64
    assert first.details["maxDrop"] == 0.02
    assert first.details["baseVersion"] == "v0"


def test_the_first_declaration_is_recorded_before_any_example_however_seldom_checkpoints_are_made(
    desk: DeclaredDesk,
) -> None:
    desk.declare("checkpoint_interval_ms", 3_600_000)
    desk.run()
    [first] = desk.decisions("declaration")
    assert (first.subject, first.last_offset) == ("declaration-1", 0)
    desk.declare("learning.learner.batch_size", 32)
    desk.run()
    assert [one.subject for one in desk.decisions("declaration")] == ["declaration-1", "declaration-2"]


def test_nothing_is_recorded_where_nothing_changed(desk: DeclaredDesk) -> None:
    for _ in range(3):
        learned(desk, 16)
    assert len(desk.decisions("declaration")) == 1


def test_a_state_directory_that_moved_declares_nothing_new(desk: DeclaredDesk, tmp_path: Path) -> None:
    learned(desk)
    moved = desk.twin(tmp_path / "moved")
    moved.examples(16)
    moved.run()
    assert len(moved.decisions("declaration")) == 1
    moved.close()


def test_a_change_and_its_return_are_two_records(desk: DeclaredDesk) -> None:
    learned(desk)
    for value in (0.5, 0.05, 0.5):
        desk.declare("gate.alpha", value)
        desk.run()
    assert desk.changes() == [{"alpha": 0.5}, {"alpha": 0.05}, {"alpha": 0.5}]
    assert len({one.subject for one in desk.decisions("declaration")}) == 4


def test_a_state_from_before_declarations_were_recorded_goes_on(desk: DeclaredDesk, tmp_path: Path) -> None:
    learned(desk)
    key = StateKey("train/default.desk", "state")
    plain = json.loads(desk.log.state(key.owner)[key.key].value)
    del plain["declared"], plain["model"]
    for checkpoint in plain["checkpoints"]:
        del checkpoint["declaration"], checkpoint["needed"]
    twin = desk.twin(tmp_path / "twin")
    desk.log.commit(Commit(state={key: json.dumps(plain).encode()}))
    for one in (desk, twin):
        one.examples(40)
        one.run()
    assert desk.state().weights_sha256 == twin.state().weights_sha256
    assert desk.decisions("declaration")[-1].details["batchSize"] == 8
    assert desk.state().model == twin.state().model
    twin.close()


CHANGES: tuple[tuple[str, Any], ...] = (
    ("learning.learner.batch_size", 16),
    ("learning.replay.capacity", 32),
    ("learning.learner.learning_rate", 2e-3),
    ("gate.approval", "manual"),
    ("metric", "loss"),
)


def history(desk: DeclaredDesk, *, kill: Kill | None = None) -> bool:
    """Three runs under three declarations, the second killed where it is said; True: it was."""
    desk.examples(84)
    desk.run()
    for path, value in CHANGES:
        desk.declare(path, value)
    desk.examples(120)
    struck = False
    if kill:
        with killing(kill), pytest.raises(Killed):
            desk.run()
        struck = True
    desk.run()
    return struck


def finish(desk: DeclaredDesk) -> None:
    desk.declare("learning.learner.epochs", 2)
    desk.examples(60)
    desk.end()
    desk.run()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Any]:
    desk = DeclaredDesk(tmp_path_factory.mktemp("undisturbed") / "state", default_options(base))
    history(desk)
    finish(desk)
    found = desk.snapshot()
    desk.close()
    return found


@pytest.mark.parametrize(
    ("name", "nth"),
    [("train.commit.before", 1), ("train.commit.after", 1), ("train.commit.before", 3), ("store.put.after", 1), ("log.commit.within", 2)],
)  # fmt: skip
def test_a_kill_around_a_change_changes_nothing(
    name: str, nth: int, desk: DeclaredDesk, undisturbed: dict[str, Any]
) -> None:
    assert history(desk, kill=Kill(name, nth))
    finish(desk)
    assert differences(desk.snapshot(), undisturbed) == []


def test_a_run_from_an_older_checkpoint_changes_at_the_same_place_again(
    desk: DeclaredDesk, undisturbed: dict[str, Any]
) -> None:
    """The newest checkpoint is lost right behind the change, and again under the next declaration."""
    assert history(desk, kill=Kill("train.commit.after", 1))
    damage(desk)
    finish(desk)
    damage(desk)
    desk.run()
    damage(desk)
    with killing(Kill("train.commit.after", 1)), pytest.raises(Killed):
        desk.run()
    desk.run()
    assert differences(desk.snapshot(), undisturbed) == []


def damage(desk: DeclaredDesk) -> None:
    newest = desk.state().checkpoints[-1].digest
    (desk.folder / "checkpoints" / "default.desk" / newest / "policy.msgpack").write_bytes(b"broken")
