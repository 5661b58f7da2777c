"""What every learner must do: a suite that a back end's tests inherit.

    class TestTorchLearner(LearnerConformance):
        def open(self, options): return open_learner(options)

Needs the fixture `tiny_checkpoint` (a directory) with a vocabulary of 512 tokens or more.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.foundation.errors import CorruptDataError, HeadraceError, NotFoundError
from headrace.learning.learner import LEARNER, Learner, LearnerOptions
from headrace.models.sequence import TokenSequence

END = 2


def sequence(prompt: tuple[int, ...], answer: tuple[int, ...]) -> TokenSequence:
    """A prompt and its answer with the end token behind it."""
    return TokenSequence((*prompt, *answer, END), len(prompt))


def toy(count: int, *, start: int = 0) -> list[TokenSequence]:
    """Prompts of many lengths whose answer is decided by one of their tokens: a task that anything can learn."""
    samples: list[TokenSequence] = []
    for number in range(start, start + count):
        kind = number % 4
        filler = tuple(40 + (number * 31 + place * 17) % 60 for place in range(3 + number * 7 % 19))
        samples.append(sequence((4, 20 + kind, *filler, 5), (200 + kind, 300 + kind % 2)))
    return samples


def greedy(learner: Learner, slot: str, prompt: tuple[int, ...], length: int) -> tuple[int, ...]:
    """What the slot writes when each token is the likeliest one."""
    written: tuple[int, ...] = ()
    for _ in range(length):
        probe = TokenSequence((*prompt, *written, END), len(prompt))
        written = (*written, learner.score(slot, [probe])[0].predicted_ids[-1])
    return written


class LearnerConformance:
    """Inherit it and say how the learner is opened; `options` may be replaced as well."""

    resolution = 1e-5
    """How far a loss may move by what it is packed with."""

    def open(self, options: LearnerOptions) -> Learner:
        raise NotImplementedError

    def options(self, base: Path) -> LearnerOptions:
        return LearnerOptions(base=base, learning_rate=5e-3, warmup_steps=4, batch_size=8, average_decay=0.8, seed=1)

    @pytest.fixture
    def opened(self, tiny_checkpoint: Path) -> Learner:
        return self.open(self.options(tiny_checkpoint))

    @pytest.fixture
    def again(self, tiny_checkpoint: Path) -> Callable[[], Learner]:
        return lambda: self.open(self.options(tiny_checkpoint))

    def test_scores_come_in_the_order_of_the_sequences_and_do_not_depend_on_company(self, opened: Learner) -> None:
        opened.learn([toy(8)])
        samples = toy(23)
        together = opened.score(LEARNER, samples)
        alone = [opened.score(LEARNER, [sample])[0] for sample in samples]
        assert [score.predicted_ids for score in together] == [score.predicted_ids for score in alone]
        assert [score.loss for score in together] == pytest.approx([score.loss for score in alone], abs=self.resolution)

    def test_an_exact_score_is_what_greedy_decoding_writes(self, opened: Learner) -> None:
        samples = toy(12)
        for _ in range(6):
            opened.learn([samples])
        scores = opened.score(LEARNER, samples)
        assert {score.exact for score in scores} <= {True, False}
        for sample, score in zip(samples, scores, strict=True):
            written = greedy(opened, LEARNER, sample.ids[: sample.answer_start], len(sample.answer_ids))
            assert score.exact == (written == sample.answer_ids)

    def test_it_learns(self, opened: Learner) -> None:
        first = opened.learn([toy(16)])
        for number in range(1, 60):
            last = opened.learn([toy(16, start=16 * number)])
        assert last.loss < first.loss / 4  # pyright: ignore[reportPossiblyUnboundVariable]
        exact = [score.exact for score in opened.score(LEARNER, toy(40, start=5000))]
        assert sum(exact) >= 36

    def test_a_report_counts_steps_and_tokens(self, opened: Learner) -> None:
        samples = toy(6)
        report = opened.learn([samples, samples[:3]])
        assert report.steps == 2
        assert report.answer_tokens == 3 * 9
        assert report.tokens == sum(len(s.ids) for s in samples) + sum(len(s.ids) for s in samples[:3])

    def test_one_times_eight_learns_as_eight_times_one(self, tiny_checkpoint: Path) -> None:
        options = self.options(tiny_checkpoint)
        losses: list[list[float]] = []
        for batch, accumulation in ((8, 1), (1, 8), (2, 4)):
            learner = self.open(replace(options, batch_size=batch, gradient_accumulation_steps=accumulation))
            losses.append([learner.learn([toy(8, start=8 * number)]).loss for number in range(5)])
        assert losses[1] == pytest.approx(losses[0], abs=1e-5)
        assert losses[2] == pytest.approx(losses[0], abs=1e-5)

    def test_the_same_calls_give_the_same_weights_bit_for_bit(self, again: Callable[[], Learner]) -> None:
        digests: set[str] = set()
        for _ in range(2):
            learner = again()
            for number in range(4):
                learner.score(LEARNER, toy(5 + number))
                learner.learn([toy(8, start=number), toy(7, start=number)])
            learner.freeze("candidate")
            digests.add(learner.weights_sha256(LEARNER) + learner.weights_sha256("candidate"))
        assert len(digests) == 1

    def test_a_restored_learner_goes_on_bit_for_bit(self, again: Callable[[], Learner], tmp_path: Path) -> None:
        undisturbed, killed = again(), again()
        for learner in (undisturbed, killed):
            learner.learn([toy(8), toy(8)])
            learner.learn([toy(9, start=8)])
            learner.freeze("candidate")
            learner.learn([toy(8, start=30)])
        killed.save(tmp_path / "saved")
        restored = again()
        restored.learn([toy(3)])
        restored.freeze("candidate")
        restored.restore(tmp_path / "saved")
        for learner in (undisturbed, restored):
            learner.learn([toy(8, start=17)])
            learner.rewarm()
            learner.learn([toy(8, start=25)])
            learner.freeze("later")
        assert restored.slots() == undisturbed.slots()
        for slot in undisturbed.slots():
            assert restored.weights_sha256(slot) == undisturbed.weights_sha256(slot)
        assert restored.score("candidate", toy(9)) == undisturbed.score("candidate", toy(9))

    def test_a_learner_that_never_learned_is_saved_too(self, again: Callable[[], Learner], tmp_path: Path) -> None:
        first = again()
        first.save(tmp_path / "saved")
        second = again()
        second.learn([toy(4)])
        second.restore(tmp_path / "saved")
        assert second.weights_sha256(LEARNER) == first.weights_sha256(LEARNER)
        assert second.learn([toy(4)]) == first.learn([toy(4)])

    def test_equal_states_are_saved_as_equal_bytes(self, again: Callable[[], Learner], tmp_path: Path) -> None:
        for name in ("one", "two"):
            learner = again()
            learner.learn([toy(8)])
            learner.freeze("candidate")
            learner.save(tmp_path / name)
        files = sorted(file.name for file in (tmp_path / "one").iterdir())
        assert files
        assert files == sorted(file.name for file in (tmp_path / "two").iterdir())
        for file in files:
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()

    def test_a_broken_file_of_a_checkpoint_is_refused(self, again: Callable[[], Learner], tmp_path: Path) -> None:
        learner = again()
        learner.learn([toy(8)])
        learner.freeze("candidate")
        learner.save(tmp_path / "saved")
        files = [file for file in (tmp_path / "saved").iterdir() if file.suffix == ".safetensors"]
        assert files
        for file in files:
            whole = file.read_bytes()
            for broken in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), None):
                file.unlink() if broken is None else file.write_bytes(broken)
                with pytest.raises(CorruptDataError, match=file.name.replace(".", r"\.")):
                    again().restore(tmp_path / "saved")
            file.write_bytes(whole)
        again().restore(tmp_path / "saved")

    def test_a_frozen_slot_stays_as_it_was_cut(self, opened: Learner) -> None:
        for number in range(4):
            opened.learn([toy(8, start=number)])
        opened.freeze("candidate")
        digest, scores = opened.weights_sha256("candidate"), opened.score("candidate", toy(6))
        assert digest != opened.weights_sha256(LEARNER)
        opened.learn([toy(8)])
        opened.freeze("other")
        assert opened.weights_sha256("candidate") == digest
        assert opened.score("candidate", toy(6)) == scores
        assert opened.weights_sha256("other") != digest

    def test_scoring_changes_nothing(self, opened: Learner) -> None:
        opened.learn([toy(8)])
        opened.freeze("candidate")
        before = [opened.weights_sha256(slot) for slot in opened.slots()]
        for slot in opened.slots():
            opened.score(slot, toy(7))
        assert [opened.weights_sha256(slot) for slot in opened.slots()] == before

    def test_slots_are_moved_and_dropped_by_name(self, opened: Learner) -> None:
        opened.learn([toy(8)])
        opened.freeze("candidate")
        digest = opened.weights_sha256("candidate")
        opened.freeze("served")
        opened.move("candidate", "served")
        assert opened.weights_sha256("served") == digest
        assert opened.slots() == (LEARNER, "base", "served")
        opened.drop("served")
        assert "served" not in opened.slots()
        for call in (
            lambda: opened.drop("served"),
            lambda: opened.score("served", toy(1)),
            lambda: opened.move("served", "x"),
        ):
            with pytest.raises(NotFoundError, match="served"):
                call()

    def test_the_learner_itself_is_neither_frozen_into_nor_dropped(self, opened: Learner) -> None:
        with pytest.raises(HeadraceError):
            opened.freeze(LEARNER)
        with pytest.raises(HeadraceError):
            opened.drop(LEARNER)

    def test_a_version_read_from_disk_equals_the_slot_it_came_from(self, opened: Learner, tmp_path: Path) -> None:
        for number in range(3):
            opened.learn([toy(8, start=number)])
        opened.freeze("candidate")
        opened.export("candidate", tmp_path / "version")
        opened.load("served", tmp_path / "version")
        assert opened.weights_sha256("served") == opened.weights_sha256("candidate")
        assert opened.score("served", toy(9)) == opened.score("candidate", toy(9))

    def test_a_checkpoint_leaves_out_what_a_version_on_disk_holds(
        self, again: Callable[[], Learner], tmp_path: Path
    ) -> None:
        learner = again()
        learner.learn([toy(8)])
        learner.freeze("candidate")
        learner.export("candidate", tmp_path / "version")
        learner.load("served", tmp_path / "version")
        learner.move("served", "previous")
        learner.save(tmp_path / "saved")
        restored = again()
        restored.restore(tmp_path / "saved")
        assert restored.slots() == (LEARNER, "base", "candidate")

    def test_a_roll_back_starts_from_the_version_with_a_fresh_optimiser(
        self, again: Callable[[], Learner], tmp_path: Path
    ) -> None:
        long, fresh = again(), again()
        for number in range(6):
            long.learn([toy(8, start=number)])
        long.freeze("candidate")
        long.export("candidate", tmp_path / "version")
        frozen = long.weights_sha256("candidate")
        long.learn([toy(8, start=50)])
        for learner in (long, fresh):
            learner.load(LEARNER, tmp_path / "version")
            assert learner.weights_sha256(LEARNER) == frozen
            learner.learn([toy(8, start=60)])
            learner.freeze("next")
        assert long.weights_sha256(LEARNER) == fresh.weights_sha256(LEARNER)
        assert long.weights_sha256("next") == fresh.weights_sha256("next")
        assert long.weights_sha256("candidate") == frozen

    def test_a_learner_that_was_rolled_back_is_saved_and_restored(
        self, again: Callable[[], Learner], tmp_path: Path
    ) -> None:
        learner = again()
        learner.learn([toy(8)])
        learner.freeze("candidate")
        learner.export("candidate", tmp_path / "version")
        learner.load(LEARNER, tmp_path / "version")
        learner.learn([toy(8, start=9)])
        learner.save(tmp_path / "saved")
        restored = again()
        restored.restore(tmp_path / "saved")
        for one in (learner, restored):
            one.learn([toy(8, start=20)])
        assert restored.weights_sha256(LEARNER) == learner.weights_sha256(LEARNER)

    def test_the_learning_rate_warms_up_and_again_after_a_drift(self, opened: Learner) -> None:
        rates = [opened.learn([toy(4)]).learning_rate for _ in range(6)]
        assert rates == pytest.approx([5e-3 * min(1.0, step / 4) for step in range(1, 7)])
        opened.rewarm()
        assert opened.learn([toy(4)]).learning_rate == pytest.approx(rates[0])

    def test_what_is_declared_acts_with_the_next_round_and_changes_no_weight_itself(
        self, opened: Learner, tiny_checkpoint: Path
    ) -> None:
        for number in range(5):
            opened.learn([toy(4, start=number)])
        digest = opened.weights_sha256(LEARNER)
        opened.declare(replace(self.options(tiny_checkpoint), learning_rate=1e-4, warmup_steps=0))
        assert opened.weights_sha256(LEARNER) == digest
        assert opened.learn([toy(4)]).learning_rate == pytest.approx(1e-4)

    def test_a_restored_learner_goes_by_the_options_of_now(
        self, again: Callable[[], Learner], tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        first = again()
        for number in range(5):
            first.learn([toy(8, start=number)])
        first.save(tmp_path / "saved")
        now = replace(self.options(tiny_checkpoint), learning_rate=2e-3, gradient_accumulation_steps=2)
        reopened, told = self.open(now), again()
        told.declare(now)
        digests: set[str] = set()
        for learner in (reopened, told):
            learner.restore(tmp_path / "saved")
            assert learner.learn([toy(8, start=17)]).learning_rate == pytest.approx(2e-3)
            digests.add(learner.weights_sha256(LEARNER))
        assert len(digests) == 1

    def test_what_only_another_model_can_take_is_not_taken_over(
        self, again: Callable[[], Learner], tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        given = self.options(tiny_checkpoint)
        other = "adamw" if given.optimizer == "muon" else "muon"
        undisturbed, told = again(), again()
        for learner in (undisturbed, told):
            learner.learn([toy(8)])
        told.declare(replace(given, base=tmp_path / "gone", optimizer=other, seed=given.seed + 1))
        for learner in (undisturbed, told):
            learner.learn([toy(8, start=8)])
        told.export(LEARNER, tmp_path / "version")
        assert told.weights_sha256(LEARNER) == undisturbed.weights_sha256(LEARNER)

    def test_an_exported_version_carries_tokenizer_and_template(self, opened: Learner, tmp_path: Path) -> None:
        opened.freeze("candidate")
        opened.export("candidate", tmp_path / "version")
        names = {file.name for file in (tmp_path / "version").iterdir()}
        assert names >= {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}

    def test_a_sequence_without_prompt_or_answer_is_refused(self, opened: Learner) -> None:
        for wrong in (TokenSequence((5, 6), 0), TokenSequence((5, 6), 2)):
            with pytest.raises(HeadraceError, match="answer"):
                opened.score(LEARNER, [wrong])
