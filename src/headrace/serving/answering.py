"""From a question to a running answer: pins the version, renders the prompt for it, and has a replica generate."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from headrace.foundation.errors import HeadraceError, NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.serving.answer_id import new_answer_id
from headrace.serving.grounding import Grounded, Grounding, as_trained, question_of
from headrace.serving.open_answer import Choice, OpenAnswer
from headrace.serving.question import (
    ModelSettings,
    Question,
    Wishes,
    generation_requests,
    prompt_ids,
    with_system_context,
)
from headrace.serving.replica_pool import PoolState, ReplicaPool
from headrace.serving.served_versions import ServedVersions
from headrace.serving.version_facts import FactsShelf
from headrace.serving.version_source import AnswerSink, ModelCard, VersionRef, VersionSource


class AnswerService:
    """The room's single entry point. Belongs to one event loop: `start`, `ask`, `close`."""

    def __init__(
        self,
        source: VersionSource,
        pools: Mapping[ResourceId, ReplicaPool],
        answers: AnswerSink,
        settings: Mapping[ResourceId, ModelSettings] | None = None,
        *,
        grounding: Grounding | None = None,
        poll_seconds: float = 0.1,
    ) -> None:
        """`pools` and `settings` by `VersionRef.model`; `grounding`: finds passages for models whose settings ask for them."""
        self._source = source
        self._pools = dict(pools)
        self._answers = answers
        self._settings = dict(settings or {})
        self._grounding = grounding
        self._facts = FactsShelf()
        self.versions = ServedVersions(source, self._prepare, poll_seconds=poll_seconds)
        self._watch: asyncio.Task[None] | None = None

    @property
    def pools(self) -> Mapping[ResourceId, PoolState]:
        """The state of each model's replicas."""
        return {model: pool.state for model, pool in self._pools.items()}

    @property
    def ready(self) -> bool:
        """Whether every model has a live replica."""
        return all(state.replicas > 0 for state in self.pools.values())

    def models(self) -> list[ModelCard]:
        return self._source.models()

    def resolve(self, name: str) -> VersionRef:
        """What a name refers to, loaded or not. NotFoundError gives the nearest names."""
        return self._source.resolve(name)

    async def start(self) -> None:
        """Starts the replicas and loads the versions that the names refer to; a version that cannot be loaded is reported when asked."""
        self._watch = asyncio.create_task(self.versions.watch(), name="alias-watch")
        await asyncio.gather(*(pool.start() for pool in self._pools.values()))
        names = [card.name for card in self._source.models()]
        outcomes = await asyncio.gather(*(self.versions.pin(name) for name in names), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, HeadraceError):
                raise outcome

    async def ask(self, model: str, questions: Sequence[Question], wishes: Wishes, *, prefix: str = "") -> OpenAnswer:
        """An answer whose first piece has arrived; the caller reads `steps` and calls `close`.

        NotFoundError (no such model), TooLongError, InvalidDeclarationError (`where` names the parameter), BusyError,
        UnavailableError (also if answers must be recorded and cannot be), CorruptDataError (no version of the model can be loaded).
        """
        if (refusal := self._answers.refusal()) is not None:
            raise refusal
        version = await self.versions.pin(model)
        settings = self._settings.get(version.model, ModelSettings())
        facts = await self._facts.get(version.path)
        answer_id = new_answer_id(prefix, version.model.namespace)
        choices: list[Choice] = []
        prompt_tokens = 0
        for question in questions:
            asked, grounded = await self._ground(version, with_system_context(question, settings), wishes, settings)
            ids, used = prompt_ids(asked, facts, settings, grounded.passages)
            requests = generation_requests(answer_id, ids, wishes, facts, settings, first=len(choices))
            prompt_tokens += len(ids)
            told = replace(grounded, passages=grounded.passages[:used])
            choices += [Choice(request, asked.messages, told) for request in requests]
        answer = OpenAnswer(
            answer_id, version, facts, choices, prompt_tokens, partial(self._answers.keep, version.model)
        )
        pool = self._pool(version)
        try:
            await answer.begin(lambda request: pool.generate(version.path, request))
        except BaseException:
            await answer.close()
            raise
        return answer

    async def _ground(
        self, version: VersionRef, question: Question, wishes: Wishes, settings: ModelSettings
    ) -> tuple[Question, Grounded]:
        """The question as in training, and its passages; plain texts and tokens are used unchanged."""
        if not settings.grounded or question.plain or question.ids is not None:
            return question, Grounded()
        asked = replace(question, messages=as_trained(question.messages, settings.user_question))
        if wishes.knowledge.off or self._grounding is None:
            return asked, Grounded()
        return asked, await self._grounding.find(version, question_of(question.messages), wishes.knowledge)

    async def drain(self, timeout_seconds: float = 30.0) -> bool:
        """Accepts no new requests and waits for running answers; False if the time ran out first."""
        done = await asyncio.gather(*(pool.drain(timeout_seconds) for pool in self._pools.values()))
        return all(done)

    async def close(self) -> None:
        """Stops the replicas."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.versions.close()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    def _pool(self, version: VersionRef) -> ReplicaPool:
        try:
            return self._pools[version.model]
        except KeyError as error:
            known = ", ".join(one.full_name for one in sorted(self._pools)) or "none"
            raise NotFoundError(f"{version.model.full_name} has no replicas; models with replicas: {known}") from error

    async def _prepare(self, version: VersionRef) -> None:
        await self._facts.get(version.path)
        await self._pool(version).prepare(version.path)
