"""Continuous batching of one version: requests join and leave between steps, and every answer uses only these weights."""

from collections.abc import Sequence
from typing import Literal, Protocol

from headrace.serving.answer_text import AnswerText
from headrace.serving.engine import LoadedModel
from headrace.serving.generation import GenerationRequest, GenerationStep, TokenLogprob
from headrace.serving.sampling import Sampler


class Decoder(Protocol):
    """The parts of a renderer used here."""

    def decode(self, ids: Sequence[int]) -> str: ...


class _Writing:
    """One request in the batch."""

    def __init__(self, request: GenerationRequest, decoder: Decoder) -> None:
        self.request = request
        self.sampler = Sampler(request)
        self.text = AnswerText(decoder.decode, request.stop)
        self.tokens = 0

    def take(self, token: int, logprob: TokenLogprob | None) -> GenerationStep:
        """The step that results from a chosen token."""
        self.tokens += 1
        if token in self.request.stop_ids:
            return self._step(self.text.finish(), (), "stop")
        logprobs = () if logprob is None else (logprob,)
        piece, stopped = self.text.push(token)
        if stopped:
            return self._step(piece, logprobs, "stop")
        if self.tokens >= self.request.max_tokens:
            return self._step(piece + self.text.finish(), logprobs, "length")
        return self._step(piece, logprobs, None)

    def _step(
        self, text: str, logprobs: tuple[TokenLogprob, ...], reason: Literal["stop", "length"] | None
    ) -> GenerationStep:
        return GenerationStep(self.request.id, text, self.tokens, logprobs, reason)


class VersionBatch:
    """The requests that one version is answering. Not thread-safe."""

    def __init__(self, model: LoadedModel, decoder: Decoder) -> None:
        self._max_positions = model.max_positions
        self._batch = model.open_batch()
        self._decoder = decoder
        self._writing: dict[int, _Writing] = {}
        self._chosen: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._writing)

    @property
    def request_ids(self) -> list[str]:
        return [writing.request.id for writing in self._writing.values()]

    def join(self, request: GenerationRequest) -> None:
        """Adds a request. ValueError if prompt and answer exceed the model's positions, or no tokens are requested."""
        if request.max_tokens < 1 or len(request.prompt_ids) + request.max_tokens > self._max_positions:
            raise ValueError(
                f"{len(request.prompt_ids)} prompt tokens plus {request.max_tokens} new tokens exceed "
                f"the model's {self._max_positions} positions"
            )
        self._writing[self._batch.join(request.prompt_ids)] = _Writing(request, self._decoder)

    def cancel(self, request_id: str) -> bool:
        """Ends a request at once; False if it is not here."""
        sequence = next((key for key, writing in self._writing.items() if writing.request.id == request_id), None)
        if sequence is None:
            return False
        self._leave(sequence)
        return True

    def step(self) -> list[GenerationStep]:
        """Advances every request whose prompt has been read by one token."""
        result = self._batch.step(self._chosen)
        self._chosen = {}
        best = result.values.argmax(axis=1).tolist() if len(result.sequences) else []
        steps: list[GenerationStep] = []
        for row, sequence in enumerate(result.sequences):
            writing = self._writing[sequence]
            plain = writing.sampler.plain
            token, logprob = (best[row], None) if plain else writing.sampler.choose(result.values[row])
            step = writing.take(token, logprob)
            steps.append(step)
            if step.finish_reason is None:
                self._chosen[sequence] = token
            else:
                self._leave(sequence)
        return steps

    def _leave(self, sequence: int) -> None:
        del self._writing[sequence]
        self._chosen.pop(sequence, None)
        self._batch.leave(sequence)
