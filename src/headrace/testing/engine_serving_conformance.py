"""What every serving engine must do: inherit `EngineConformance`, give it an engine and a checkpoint.

The reference are the logits of the checkpoint's own library over whole sequences, so that caches, joins and departures
are checked against a computation that has none of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.serving.checkpoint import read_config
from headrace.serving.engine import Engine, LoadedModel, SequenceBatch

Reference = Callable[[Sequence[int]], NDArray[np.float32]]
"""Token ids → logits [len(ids), vocabulary] in fp32."""

CLEAR_GAP = 1e-4
"""Where the two best logits differ by more, greedy answers must be equal."""


class EngineConformance(ABC):
    """Test class to inherit from; `engine`, `checkpoint` and `reference` are fixtures of the inheriting module."""

    @abstractmethod
    def broken_copies(self, checkpoint: Path, target: Path) -> Sequence[Path]:
        """Directories under `target` that are no whole checkpoints: `load` must raise CorruptDataError for each."""

    @pytest.fixture
    def model(self, engine: Engine, checkpoint: Path) -> LoadedModel:
        return engine.load(checkpoint)

    def test_it_takes_the_checkpoint_that_it_is_tested_with(self, engine: Engine, checkpoint: Path) -> None:
        assert engine.refuses(read_config(checkpoint)) is None

    def test_it_says_why_it_refuses_an_unknown_architecture(self, engine: Engine, checkpoint: Path) -> None:
        config = read_config(checkpoint)
        foreign = type(config)(config.path, "no-such-architecture", config.values)
        assert "no-such-architecture" in (engine.refuses(foreign) or "")

    def test_greedy_tokens_are_the_references_wherever_its_choice_is_clear(
        self, model: LoadedModel, reference: Reference
    ) -> None:
        for prompt in _prompts(model.vocabulary_size):
            written = _greedy(model.open_batch(), {0: prompt}, 24)[0]
            check_greedy(reference, prompt, written)

    def test_sequences_that_join_and_leave_do_not_change_each_others_answers(
        self, model: LoadedModel, reference: Reference
    ) -> None:
        prompts = _prompts(model.vocabulary_size)
        batch = model.open_batch()
        written = _greedy(batch, dict(enumerate(prompts)), 24, join_every=3, leave={2: 4, 4: 1})
        for number, prompt in enumerate(prompts):
            check_greedy(reference, prompt, written[number])
        assert len(written[2]) == 4

    def test_a_prompt_of_several_hundred_tokens_is_read_whole(self, model: LoadedModel, reference: Reference) -> None:
        prompt = _random(model.vocabulary_size, min(700, model.max_positions - 8), seed=9)
        short = _random(model.vocabulary_size, 5, seed=10)
        written = _greedy(model.open_batch(), {0: short, 1: prompt}, 6, join_every=2)
        check_greedy(reference, prompt, written[1])
        check_greedy(reference, short, written[0])

    def test_a_sequence_may_fill_every_position(self, model: LoadedModel) -> None:
        prompt = _random(model.vocabulary_size, model.max_positions - 1, seed=3)
        assert len(_greedy(model.open_batch(), {0: prompt}, 1)[0]) == 1

    def test_a_prompt_that_is_empty_or_too_long_is_refused(self, model: LoadedModel) -> None:
        batch = model.open_batch()
        for length in (0, model.max_positions + 1):
            with pytest.raises(ValueError, match="prompt"):
                batch.join([1] * length)

    def test_leaving_before_the_first_step_leaves_nothing_behind(self, model: LoadedModel) -> None:
        batch = model.open_batch()
        batch.leave(batch.join([1, 2, 3]))
        assert batch.step({}).sequences == ()

    def test_a_broken_checkpoint_is_called_corrupt(self, engine: Engine, checkpoint: Path, tmp_path: Path) -> None:
        from headrace.foundation.errors import CorruptDataError

        copies = self.broken_copies(checkpoint, tmp_path)
        assert copies
        for copy in copies:
            with pytest.raises(CorruptDataError):
                engine.load(copy)


def check_greedy(reference: Reference, prompt: Sequence[int], written: Sequence[int]) -> None:
    """Each token is the reference's best one, given those before it, unless the two best are within CLEAR_GAP."""
    logits = reference([*prompt, *written])
    for offset, token in enumerate(written):
        row = logits[len(prompt) + offset - 1]
        second, best = np.sort(row)[-2:]
        assert token == row.argmax() or best - second <= CLEAR_GAP, f"token {offset} is {token}, not {row.argmax()}"


def _greedy(
    batch: SequenceBatch,
    prompts: dict[int, list[int]],
    tokens: int,
    *,
    join_every: int = 0,
    leave: dict[int, int] | None = None,
) -> dict[int, list[int]]:
    """Greedy tokens by prompt; one prompt joins every `join_every` steps (0: all at once), `leave` says who goes early."""
    limits = {number: (leave or {}).get(number, tokens) for number in prompts}
    waiting, numbers = list(prompts), dict[int, int]()
    written: dict[int, list[int]] = {number: [] for number in prompts}
    chosen: dict[int, int] = {}
    step = 0
    while waiting or numbers:
        while waiting and (not join_every or step >= join_every * (len(prompts) - len(waiting))):
            number = waiting.pop(0)
            numbers[batch.join(prompts[number])] = number
        result = batch.step(chosen)
        chosen = {}
        for sequence, row in zip(result.sequences, result.values, strict=True):
            number = numbers[sequence]
            chosen[sequence] = int(row.argmax())
            written[number].append(chosen[sequence])
            if len(written[number]) >= limits[number]:
                batch.leave(sequence)
                del numbers[sequence], chosen[sequence]
        step += 1
    return written


def _prompts(vocabulary: int) -> list[list[int]]:
    return [_random(vocabulary, length, seed=length) for length in (1, 7, 60, 30, 3)]


def _random(vocabulary: int, length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocabulary, length).tolist()
