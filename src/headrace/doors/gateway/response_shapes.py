"""OpenAI's response bodies, made of an answer's pieces."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace.serving.generation import GenerationStep, TokenLogprob
from headrace.serving.open_answer import OpenAnswer


def headers(answer: OpenAnswer) -> dict[str, str]:
    """Which answer this is, and what it was made with."""
    return {
        "x-headrace-answer-id": answer.id,
        "x-headrace-model": answer.version.model.full_name,
        "x-headrace-model-version": answer.version.version,
        "x-headrace-knowledge-version": answer.knowledge_version or "none",
    }


def citations(answer: OpenAnswer, index: int) -> list[dict[str, Any]]:
    """What a choice's prompt was grounded in, best first: an extension that plain clients pass over."""
    return [
        {"document": one.document, "version": one.version, "chunk": one.chunk, "score": one.score, "text": one.text}
        for one in answer.choices[index].grounded.passages
    ]


def knowledge(answer: OpenAnswer) -> dict[str, Any] | None:
    """`knowledge` of a body; None where nothing was retrieved."""
    grounded = answer.choices[0].grounded
    if not grounded.generation:
        return None
    told = {"version": grounded.generation, "citations": citations(answer, 0)}
    return {**told, "degraded": grounded.degraded} if grounded.degraded else told


def usage(answer: OpenAnswer) -> dict[str, int]:
    """Tokens read and written, those that ended an answer included."""
    read, written = answer.prompt_tokens, answer.output_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def envelope(answer: OpenAnswer, kind: str, model: str, created: int) -> dict[str, Any]:
    """What every body and every chunk begins with."""
    return {
        "id": answer.id,
        "object": kind,
        "created": created,
        "model": model,
        "system_fingerprint": f"{answer.version.model.full_name}@{answer.version.version}",
    }


def chat_choice(answer: OpenAnswer, index: int, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
    """A whole answer of a chat."""
    choice = answer.choices[index]
    return {
        "index": index,
        "message": {"role": "assistant", "content": "".join(choice.text), "refusal": None},
        "logprobs": None if logprobs is None else chat_logprobs(answer, logprobs),
        "finish_reason": choice.finish_reason,
    }


def chat_delta(answer: OpenAnswer, index: int, step: GenerationStep, *, logprobs: bool) -> dict[str, Any]:
    """A piece of an answer of a chat."""
    return {
        "index": index,
        "delta": {"content": step.text} if step.text else {},
        "logprobs": chat_logprobs(answer, step.logprobs) if logprobs and step.logprobs else None,
        "finish_reason": step.finish_reason,
    }


def text_choice(index: int, text: str, logprobs: Mapping[str, Any] | None, reason: str | None) -> dict[str, Any]:
    """An answer of `/v1/completions`, or a piece of one."""
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def chat_logprobs(answer: OpenAnswer, logprobs: Iterable[TokenLogprob]) -> dict[str, Any]:
    """`choices[].logprobs` of a chat."""
    content = [
        {
            **_token(answer, logprob.id, logprob.logprob),
            "top_logprobs": [_token(answer, token, value) for token, value in logprob.top],
        }
        for logprob in logprobs
    ]
    return {"content": content, "refusal": None}


def text_logprobs(answer: OpenAnswer, logprobs: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """`choices[].logprobs` of `/v1/completions`; `offset`: characters of the answer before the first of these tokens."""
    texts = [answer.token_text(logprob.id) for logprob in logprobs]
    offsets = [offset + sum(map(len, texts[:index])) for index in range(len(texts))]
    top = [{answer.token_text(token): value for token, value in reversed(logprob.top)} for logprob in logprobs]
    return {
        "tokens": texts,
        "token_logprobs": [logprob.logprob for logprob in logprobs],
        "top_logprobs": top,
        "text_offset": offsets,
    }


def _token(answer: OpenAnswer, token: int, logprob: float) -> dict[str, Any]:
    text = answer.token_text(token)
    return {"token": text, "bytes": list(text.encode()), "logprob": logprob}
