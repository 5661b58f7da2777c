"""An answer in progress: all its choices as one stream of pieces, stopped at once when the client leaves."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from headrace.events.answer import Answer
from headrace.events.message import Message
from headrace.foundation.errors import HeadraceError, UnavailableError
from headrace.serving.generation import GenerationRequest, GenerationStep
from headrace.serving.grounding import Grounded
from headrace.serving.version_facts import VersionFacts
from headrace.serving.version_source import VersionRef


@dataclass(slots=True)
class Choice:
    """One of the answer's texts."""

    request: GenerationRequest
    messages: tuple[Message, ...]
    grounded: Grounded = Grounded()
    """The passages in its prompt."""
    text: list[str] = field(default_factory=list[str])
    tokens: int = 0
    finish_reason: str | None = None
    """None while it is being generated."""


class OpenAnswer:
    """`steps` once, then `close`, whatever happens."""

    def __init__(
        self,
        answer_id: str,
        version: VersionRef,
        facts: VersionFacts,
        choices: Sequence[Choice],
        prompt_tokens: int,
        keep: Callable[[Mapping[str, Answer]], Awaitable[None]],
    ) -> None:
        """`keep` takes the texts by id, once, before the last piece is returned."""
        self.id = answer_id
        self.version = version
        self.choices = tuple(choices)
        self.prompt_tokens = prompt_tokens
        self._renderer = facts.renderer
        self._keep = keep
        self._kept = False
        self._pieces: asyncio.Queue[tuple[int, GenerationStep] | HeadraceError] = asyncio.Queue()
        self._pumps: list[asyncio.Task[None]] = []
        self._first: tuple[int, GenerationStep] | None = None

    @property
    def knowledge_version(self) -> str:
        """The generation its passages came from; '': none."""
        return self.choices[0].grounded.generation if self.choices else ""

    @property
    def output_tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    def token_text(self, token: int) -> str:
        """One token's own text, for log-probabilities."""
        return self._renderer.decode([token])

    def prompt_text(self, index: int) -> str:
        """The text of a choice's prompt, decoded from its tokens."""
        return self._renderer.decode(self.choices[index].request.prompt_ids)

    async def begin(self, generate: Callable[[GenerationRequest], AsyncGenerator[GenerationStep]]) -> None:
        """Starts every choice and waits for the first piece, so that a rejection happens before anything is sent.

        BusyError, UnavailableError as in `ReplicaPool.generate`.
        """
        self._pumps = [
            asyncio.create_task(self._pump(index, generate(choice.request)))
            for index, choice in enumerate(self.choices)
        ]
        self._first = await self._next()

    async def steps(self) -> AsyncGenerator[tuple[int, GenerationStep]]:
        """Pieces with the index of their choice, until every choice has ended.

        UnavailableError instead of the last piece: the answer must be recorded and cannot be.
        """
        if self._first is not None:
            yield await self._take(*self._first)
        while not self._ended:
            yield await self._take(*await self._next())

    async def close(self) -> None:
        """Stops what is still running, also in the replicas, and records the text so far."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        with suppress(UnavailableError):  # the sink has counted it, and no client waits for this answer's end
            await self._keep_once()

    async def _next(self) -> tuple[int, GenerationStep]:
        piece = await self._pieces.get()
        if isinstance(piece, HeadraceError):
            raise piece
        return piece

    async def _pump(self, index: int, steps: AsyncGenerator[GenerationStep]) -> None:
        try:
            async for step in steps:
                self._pieces.put_nowait((index, step))
        except HeadraceError as error:
            self._pieces.put_nowait(error)
        finally:
            await steps.aclose()

    @property
    def _ended(self) -> bool:
        return all(choice.finish_reason is not None for choice in self.choices)

    async def _keep_once(self) -> None:
        if self._kept:
            return
        self._kept = True
        said = [choice for choice in self.choices if choice.tokens or choice.finish_reason is not None]
        if said:
            await self._keep({choice.request.id: self._answer(choice) for choice in said})

    async def _take(self, index: int, step: GenerationStep) -> tuple[int, GenerationStep]:
        choice = self.choices[index]
        choice.text.append(step.text)
        choice.tokens = max(choice.tokens, step.tokens)
        choice.finish_reason = step.finish_reason
        if step.finish_reason is not None and self._ended:
            await self._keep_once()
        return index, step

    def _answer(self, choice: Choice) -> Answer:
        return Answer(
            model=self.version.model.name,
            version=self.version.version,
            messages=list(choice.messages),
            text="".join(choice.text),
            finish_reason=choice.finish_reason or "cancelled",
            input_tokens=len(choice.request.prompt_ids),
            output_tokens=choice.tokens,
            passages=list(choice.grounded.passages),
            knowledge=choice.grounded.generation,
        )
