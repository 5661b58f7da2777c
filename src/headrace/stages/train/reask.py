"""Asks the teacher again about things already learned, on drift and when documents changed; the answers are committed before they
are used, so that a restart at the same offset gives the same ones without asking.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.events import codec, topics
from headrace.events.example import Example
from headrace.events.message import Message, Passage
from headrace.foundation.clock import Clock
from headrace.foundation.errors import CorruptDataError, FinalError, RetryableError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.resource_id import ResourceId
from headrace.knowledge.query import AsOf
from headrace.learning.fresh import Fresh
from headrace.log.topic_log import Commit, Lease, StateKey, TopicLog
from headrace.models.embedder import Embedder
from headrace.models.knowledge_text import fill_knowledge
from headrace.models.prompt_renderer import KNOWLEDGE
from headrace.stages.label.teacher_desk import open_desk
from headrace.stages.train.options import TrainOptions
from headrace.teachers.desk import TeacherDesk

REASKED, RENEWED = "reasked/", "renewed/"
ERROR_AT_MOST = 300
"""Characters of an error that a decision tells."""

Kept = TypeVar("Kept")


class Renewed(msgspec.Struct, frozen=True):
    """A prompt's answer from other passages than those it came with."""

    answer: str
    passages: list[Passage]


class Renewal(msgspec.Struct, frozen=True):
    """What was asked again at one sign."""

    answers: dict[str, Renewed] = {}
    """By example id; those that the teacher did not give are left out."""
    missing: str = ""
    """Why some are left out: the first reason."""


def question_of(messages: Sequence[Message]) -> str:
    """What passages are looked for with: the user's words, as the `prompt` stage took them."""
    return "\n".join(one.content for one in messages if one.role == "user").replace(KNOWLEDGE, "").strip()


class Reasker:
    """Serves one trainer."""

    def __init__(
        self,
        options: TrainOptions,
        log: TopicLog,
        owner: str,
        lease: Lease,
        state: Path,
        clock: Clock,
        *,
        embedder: Embedder | None = None,
    ) -> None:
        """`embedder`: handed in by tests; else the knowledge base's own, opened when it is needed."""
        self._options, self._log, self._owner, self._lease = options, log, owner, lease
        self._state_dir, self._clock, self._embedder = state, clock, embedder
        self._teacher_owner = ResourceId("StreamFinetuner", options.namespace, options.finetuner)
        self._examples = topics.examples(options.namespace, options.finetuner)
        self._desk: TeacherDesk | None = (
            open_desk(options.teacher, state, clock) if options.teacher and options.teacher.teacher else None
        )
        self._loop = asyncio.new_event_loop()
        self._kept = {*log.state(owner, REASKED), *log.state(owner, RENEWED)}
        self._last: tuple[int, Renewal] = (-1, Renewal())

    @property
    def can_ask(self) -> bool:
        return self._desk is not None

    @property
    def can_renew(self) -> bool:
        """Whether it can also find the passages that a prompt would have now."""
        return self._desk is not None and self._options.knowledge is not None

    def example(self, item: Fresh) -> Example:
        """The whole example behind a tokenized one, read from its topic; where it was renewed, with the passages of then."""
        example = codec.decode(self._log.read(self._examples, item.offset, max_records=1)[0], Example)
        if item.renewed_at < 0:
            return example
        renewed = self._renewal(item.renewed_at).answers[item.example_id]
        return msgspec.structs.replace(example, answer=renewed.answer, passages=renewed.passages)

    def ask_again(self, items: Sequence[Fresh], at_offset: int) -> dict[str, str]:
        """New answers by example id; those that the teacher did not give (budget, outage, refusal) are left out."""
        key = f"{REASKED}{at_offset:020d}"
        if (known := self._load(key, dict[str, str])) is not None:
            return known
        asked = [(item, self.example(item)) for item in items]
        answers = self._loop.run_until_complete(self._ask_all(asked, f"again/{at_offset}", fresh=True))
        found = {item.example_id: one for item, one in zip(items, answers, strict=True) if isinstance(one, str)}
        return self._keep(key, found)

    def renew(self, items: Sequence[Fresh], at_offset: int, at_ms: int) -> Renewal:
        """Finds the items' passages as of `at_ms` on the finetuner's timeline and asks with them.

        UnavailableError where the knowledge base cannot be searched now: nothing is committed, and everything is tried again.
        """
        key = f"{RENEWED}{at_offset:020d}"
        if (known := self._load(key, Renewal)) is not None:
            return known
        examples = [self.example(item) for item in items]
        try:
            found = self._retrieve(examples, at_ms)
        except FinalError as error:  # what cannot be found is let go, and the decision says why
            return self._keep(key, Renewal(missing=str(error)[:ERROR_AT_MOST]))
        asked = [
            (item, msgspec.structs.replace(example, passages=passages))
            for item, example, passages in zip(items, examples, found, strict=True)
        ]
        answers = self._loop.run_until_complete(self._ask_all(asked, f"renewed/{at_offset}", fresh=False))
        failed = next((str(one)[:ERROR_AT_MOST] for one in answers if not isinstance(one, str)), "")
        renewed = {
            item.example_id: Renewed(answer, example.passages)
            for (item, example), answer in zip(asked, answers, strict=True)
            if isinstance(answer, str)
        }
        return self._keep(key, Renewal(renewed, failed))

    def still_said(self, items: Sequence[Fresh], current: Mapping[str, str | None], at_ms: int) -> frozenset[str]:
        """Ids of the examples whose passages of the changed documents still stand in them, word for word: an edit elsewhere in a
        document is no reason to ask again. `current` as in `Fresh.outdated_by`; read as of `at_ms`, so that a replay finds the same.
        """
        if self._options.knowledge is None:
            return frozenset()
        texts = self._texts([name for name, version in current.items() if version is not None], at_ms)
        return frozenset(
            item.example_id
            for item in items
            if all(
                one.text in texts.get(one.document, "")
                for one in self.example(item).passages
                if one.document in current and current[one.document] != one.version
            )
        )

    def _texts(self, documents: Sequence[str], at_ms: int) -> dict[str, str]:
        from headrace.stages.index.knowledge_view import KnowledgeView

        assert self._options.knowledge is not None
        moment = AsOf(at_ms, self._options.timeline)
        view = KnowledgeView(self._options.knowledge, self._state_dir, self._clock, self._embedder)
        try:
            found = {name: view.store.document(name, moment) for name in documents}
        finally:
            view.store.close()
        return {name: one.text for name, one in found.items() if one is not None}

    def obsolete(self, before: int, needed: Collection[int]) -> list[str]:
        """Keys of what was kept for offsets before `before`, but for the renewals at `needed`, whose passages are still learned from."""
        kept = {f"{RENEWED}{offset:020d}" for offset in needed}
        return sorted(key for key in self._kept - kept if int(key.partition("/")[2]) < before)

    def forget(self, keys: Collection[str]) -> None:
        """They have been deleted."""
        self._kept -= set(keys)

    def close(self) -> None:
        if self._desk:
            self._loop.run_until_complete(self._desk.close())
        self._loop.close()

    def _renewal(self, at_offset: int) -> Renewal:
        if self._last[0] != at_offset:
            key = f"{RENEWED}{at_offset:020d}"
            known = self._load(key, Renewal)
            if known is None:
                raise CorruptDataError(f"what was asked again at {at_offset} is gone", where=f"{self._owner} {key}")
            self._last = (at_offset, known)
        return self._last[1]

    def _load(self, key: str, kind: type[Kept]) -> Kept | None:
        entry = self._log.state(self._owner, key).get(key)
        return msgspec.json.decode(entry.value, type=kind) if entry else None

    def _keep(self, key: str, found: Kept) -> Kept:
        failpoint("train.reask.before")
        self._log.commit(Commit(state={StateKey(self._owner, key): msgspec.json.encode(found)}, lease=self._lease))
        failpoint("train.reask.after")
        self._kept.add(key)
        return found

    def _retrieve(self, examples: Sequence[Example], at_ms: int) -> list[list[Passage]]:
        """As the `prompt` stage does; the view is held no longer than that, for documents change seldom."""
        from headrace.stages.index.knowledge_view import KnowledgeView
        from headrace.stages.prompt.knowledge import passage

        assert self._options.knowledge is not None
        view = KnowledgeView(self._options.knowledge, self._state_dir, self._clock, self._embedder)
        try:
            questions = [question_of(example.messages) for example in examples]
            moment = AsOf(at_ms, self._options.timeline)
            hits = view.search_many(questions, [moment] * len(questions), limit=self._options.knowledge_limit)
        finally:
            view.close()
        return [[passage(hit) for hit in found] for found in hits]

    async def _ask_all(
        self, asked: Sequence[tuple[Fresh, Example]], name: str, *, fresh: bool
    ) -> list[str | RetryableError | FinalError]:
        return await asyncio.gather(
            *(self._ask(example, f"{name}/{item.example_id}", fresh=fresh) for item, example in asked)
        )

    async def _ask(self, example: Example, ask_id: str, *, fresh: bool) -> str | RetryableError | FinalError:
        """The answer, or why there is none: what is not answered counts in the decision's record."""
        assert self._desk is not None
        assert self._options.teacher is not None
        try:
            answer = await self._desk.ask(
                fill_knowledge(example.messages, example.passages), owner=self._teacher_owner,
                max_output_tokens=self._options.teacher.output_max, ask_id=ask_id, fresh=fresh, apart=not fresh,
                cites=[(passage.document, passage.version) for passage in example.passages],
            )  # fmt: skip
        except (RetryableError, FinalError) as error:
            return error
        return answer.text
