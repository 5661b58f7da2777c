"""Which token comes next."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serving.generation import GenerationRequest
from headrace.serving.sampling import Sampler

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))


def draws(count: int, **wishes: object) -> list[int]:
    sampler = Sampler(GenerationRequest("r", (1,), **wishes))  # type: ignore[arg-type]
    return [sampler.choose(LOGITS)[0] for _ in range(count)]


def test_temperature_zero_takes_the_best() -> None:
    assert set(draws(10)) == {0}


def test_a_seed_repeats_and_another_differs() -> None:
    assert draws(50, temperature=1.0, seed=7) == draws(50, temperature=1.0, seed=7)
    assert draws(50, temperature=1.0, seed=7) != draws(50, temperature=1.0, seed=8)


def test_draws_have_the_models_frequencies() -> None:
    shares = np.bincount(draws(8000, temperature=1.0, seed=0), minlength=4) / 8000
    assert shares == pytest.approx([0.5, 0.25, 0.15, 0.1], abs=0.02)


def test_temperature_sharpens_and_flattens() -> None:
    cold = np.bincount(draws(2000, temperature=0.25, seed=0), minlength=4)[0]
    hot = np.bincount(draws(2000, temperature=2.0, seed=0), minlength=4)[0]
    assert cold > 1800 > 1000 > hot


@pytest.mark.parametrize(
    ("top_p", "allowed"), [(0.5, {0}), (0.51, {0, 1}), (0.75, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})]
)
def test_top_p_keeps_the_smallest_set_of_best_tokens_that_holds_it(top_p: float, allowed: set[int]) -> None:
    assert set(draws(2000, temperature=1.0, top_p=top_p, seed=1)) == allowed


def test_a_bias_moves_the_choice_and_its_log_probability() -> None:
    sampler = Sampler(GenerationRequest("r", (1,), logit_bias={3: 100.0}, top_logprobs=2))
    token, logprob = sampler.choose(LOGITS)
    assert token == 3
    assert logprob is not None
    assert logprob.logprob == pytest.approx(0, abs=1e-6)
    assert [rival for rival, _ in logprob.top] == [3, 0]


def test_log_probabilities_are_the_models_whatever_the_temperature() -> None:
    sampler = Sampler(GenerationRequest("r", (1,), temperature=0.1, seed=0, top_logprobs=4))
    _, logprob = sampler.choose(LOGITS)
    assert logprob is not None
    assert [np.exp(value) for _, value in logprob.top] == pytest.approx([0.5, 0.25, 0.15, 0.1], rel=1e-5)


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40),
    st.floats(0.01, 2), st.floats(0.01, 1), st.integers(0, 2**63),
)  # fmt: skip
def test_a_draw_is_always_a_token_within_the_vocabulary(
    values: list[float], temperature: float, top_p: float, seed: int
) -> None:
    logits = np.array(values, np.float32)
    token, _ = Sampler(GenerationRequest("r", (1,), temperature=temperature, top_p=top_p, seed=seed)).choose(logits)
    assert 0 <= token < len(values)
