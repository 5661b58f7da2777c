"""Requests that join, leave and end in one version."""

from pathlib import Path

import pytest

from headrace.serving.generation import GenerationRequest, GenerationStep
from headrace.serving.version_batch import VersionBatch
from headrace.serving.version_shelf import load_version


@pytest.fixture
def batch(tiny: Path) -> VersionBatch:
    return load_version(tiny).batch


def finish(batch: VersionBatch) -> dict[str, list[GenerationStep]]:
    steps: dict[str, list[GenerationStep]] = {}
    while len(batch):
        for step in batch.step():
            steps.setdefault(step.request_id, []).append(step)
    return steps


def text(steps: list[GenerationStep]) -> str:
    return "".join(step.text for step in steps)


def test_an_answer_ends_at_its_limit_and_counts_its_tokens(batch: VersionBatch) -> None:
    batch.join(GenerationRequest("a", (5, 6), max_tokens=7))
    steps = finish(batch)["a"]
    assert [step.tokens for step in steps] == list(range(1, 8))
    assert [step.finish_reason for step in steps] == [None] * 6 + ["length"]


def test_an_end_token_ends_an_answer_without_a_trace_in_its_text(batch: VersionBatch) -> None:
    batch.join(GenerationRequest("free", (5, 6), max_tokens=6, top_logprobs=0))
    free = finish(batch)["free"]
    third = free[2].logprobs[0].id
    batch.join(GenerationRequest("ended", (5, 6), max_tokens=6, stop_ids=(third,), top_logprobs=0))
    ended = finish(batch)["ended"]
    index = next(index for index, step in enumerate(free) if step.logprobs[0].id == third)
    assert ended[-1].finish_reason == "stop"
    assert ended[-1].tokens == index + 1
    assert ended[-1].logprobs == ()
    assert text(free).startswith(text(ended))


def test_a_stop_sequence_ends_an_answer(batch: VersionBatch) -> None:
    batch.join(GenerationRequest("free", (5, 6), max_tokens=20))
    whole = text(finish(batch)["free"])
    stop = whole[4:7]
    batch.join(GenerationRequest("stopped", (5, 6), max_tokens=20, stop=(stop,)))
    steps = finish(batch)["stopped"]
    assert steps[-1].finish_reason == "stop"
    assert text(steps) == whole[: whole.index(stop)]


def test_an_answer_is_the_same_alone_and_in_company(batch: VersionBatch) -> None:
    requests = [GenerationRequest(str(index), (5 + index, 6), max_tokens=12 + index) for index in range(5)]
    alone = {}
    for request in requests:
        batch.join(request)
        alone |= {name: text(steps) for name, steps in finish(batch).items()}
    for request in requests:
        batch.join(request)
    assert {name: text(steps) for name, steps in finish(batch).items()} == alone


def test_a_seed_repeats_an_answer_in_any_company(batch: VersionBatch) -> None:
    request = GenerationRequest("drawn", (5, 6), max_tokens=15, temperature=1.5, top_p=0.9, seed=11)
    batch.join(request)
    alone = text(finish(batch)["drawn"])
    batch.join(GenerationRequest("other", (9,), max_tokens=9, temperature=1.0, seed=3))
    batch.step()
    batch.join(request)
    assert text(finish(batch)["drawn"]) == alone


def test_a_cancelled_request_leaves_at_once(batch: VersionBatch) -> None:
    batch.join(GenerationRequest("kept", (5, 6), max_tokens=5))
    batch.join(GenerationRequest("gone", (5, 6), max_tokens=5))
    batch.step()
    assert batch.cancel("gone")
    assert not batch.cancel("gone")
    assert len(batch) == 1
    assert set(finish(batch)) == {"kept"}


def test_what_does_not_fit_into_the_models_positions_is_refused(batch: VersionBatch) -> None:
    with pytest.raises(ValueError, match="exceed the model's 1024 positions"):
        batch.join(GenerationRequest("long", tuple([5] * 1000), max_tokens=25))
