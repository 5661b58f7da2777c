"""`POST /v1/chat/completions`."""

from collections.abc import Sequence
from typing import Any

from headrace.doors.gateway import response_shapes
from headrace.doors.gateway.openai_requests import ChatCompletionBody
from headrace.serving.generation import GenerationStep, TokenLogprob
from headrace.serving.grounding import KnowledgeWishes
from headrace.serving.open_answer import OpenAnswer
from headrace.serving.question import Question, Wishes


def question(body: ChatCompletionBody) -> Question:
    """The conversation."""
    return Question(tuple(message.to_message() for message in body.messages))


def wishes(body: ChatCompletionBody) -> Wishes:
    """Left out: greedy, so that an answer is what was scored and promoted."""
    return Wishes(
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature or 0.0,
        top_p=body.top_p or 1.0,
        seed=body.seed,
        stop=tuple(body.stop or ()),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        logit_bias=body.logit_bias or {},
        choices=body.n or 1,
        knowledge=KnowledgeWishes(body.knowledge.off, body.knowledge.limit, body.knowledge.filter)
        if body.knowledge
        else KnowledgeWishes(),
    )


class ChatShape:
    """The bodies of chats."""

    prefix = "chatcmpl-"
    object_name = "chat.completion"
    chunk_name = "chat.completion.chunk"

    def __init__(self, body: ChatCompletionBody) -> None:
        self._logprobs = bool(body.logprobs)

    def opening(self, answer: OpenAnswer) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": ""}
        return [
            {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            for index in range(len(answer.choices))
        ]

    def piece(self, answer: OpenAnswer, index: int, step: GenerationStep) -> dict[str, Any]:
        return response_shapes.chat_delta(answer, index, step, logprobs=self._logprobs)

    def whole(self, answer: OpenAnswer, index: int, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        return response_shapes.chat_choice(answer, index, logprobs if self._logprobs else None)
