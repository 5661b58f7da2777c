"""`POST /v1/completions`: text is encoded as it is, without a chat template."""

from collections.abc import Sequence
from typing import Any

from headrace.doors.gateway import response_shapes
from headrace.doors.gateway.openai_requests import CompletionBody
from headrace.events.message import Message
from headrace.serving.generation import GenerationStep, TokenLogprob
from headrace.serving.open_answer import OpenAnswer
from headrace.serving.question import Question, Wishes

_DEFAULT_MAX_TOKENS = 16
"""OpenAI's own default for this endpoint."""


def questions(body: CompletionBody) -> list[Question]:
    """One per prompt."""
    return [_question(prompt) for prompt in body.prompts()]


def _question(prompt: str | list[int]) -> Question:
    if isinstance(prompt, str):
        return Question((Message("user", prompt),), plain=True)
    return Question((Message("user", " ".join(map(str, prompt))),), ids=tuple(prompt))


def wishes(body: CompletionBody) -> Wishes:
    """Left out: greedy, 16 tokens."""
    return Wishes(
        max_tokens=body.max_tokens or _DEFAULT_MAX_TOKENS,
        temperature=body.temperature or 0.0,
        top_p=body.top_p or 1.0,
        seed=body.seed,
        stop=tuple(body.stop or ()),
        top_logprobs=body.logprobs,
        logit_bias=body.logit_bias or {},
        choices=body.n or 1,
    )


class CompletionShape:
    """The bodies of completions."""

    prefix = "cmpl-"
    object_name = "text_completion"
    chunk_name = "text_completion"

    def __init__(self, body: CompletionBody) -> None:
        self._logprobs = body.logprobs is not None
        self._echo = bool(body.echo)
        self._offsets: dict[int, int] = {}

    def opening(self, answer: OpenAnswer) -> list[dict[str, Any]]:
        if not self._echo:
            return []
        return [
            response_shapes.text_choice(index, answer.prompt_text(index), None, None)
            for index in range(len(answer.choices))
        ]

    def piece(self, answer: OpenAnswer, index: int, step: GenerationStep) -> dict[str, Any]:
        logprobs = None
        if self._logprobs and step.logprobs:
            offset = self._offsets.get(index, 0)
            logprobs = response_shapes.text_logprobs(answer, step.logprobs, offset)
            self._offsets[index] = offset + sum(map(len, logprobs["tokens"]))
        return response_shapes.text_choice(index, step.text, logprobs, step.finish_reason)

    def whole(self, answer: OpenAnswer, index: int, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        choice = answer.choices[index]
        text = (answer.prompt_text(index) if self._echo else "") + "".join(choice.text)
        found = response_shapes.text_logprobs(answer, logprobs, 0) if self._logprobs else None
        return response_shapes.text_choice(index, text, found, choice.finish_reason)
