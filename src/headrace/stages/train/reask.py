"""Reasks the teacher about things already learned, on drift and when documents changed. The answers are committed before they
are used, so that a restart at the same offset gives the same ones without asking.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.events import codec, topics
from headrace.events.addressing import opened
from headrace.events.example import Example
from headrace.events.message import Message, Passage
from headrace.foundation.clock import Clock
from headrace.foundation.errors import CorruptDataError, FinalError, NotFoundError, RetryableError
from headrace.foundation.failpoints import failpoint
from headrace.knowledge.query import AsOf
from headrace.learning.fresh import Fresh
from headrace.learning.reask import Reasked, Reasking
from headrace.log.topic_log import Commit, Lease, StateKey, TopicLog
from headrace.models.embedder import Embedder
from headrace.models.knowledge_text import fill_knowledge
from headrace.models.prompt_renderer import KNOWLEDGE
from headrace.stages.label.teacher_desk import OpenDesk, open_desk
from headrace.stages.train.options import TrainOptions
from headrace.teachers.desk import TeacherDesk

ANSWERS, WITH_PASSAGES = "reasked/", "renewed/"
"""Prefixes of the state keys: answers to the same prompts, and to prompts with new passages."""
ERROR_AT_MOST = 300
"""Characters of an error that a decision tells."""

Kept = TypeVar("Kept")


def question_of(messages: Sequence[Message]) -> str:
    """What passages are looked for with: the user's words, as the `prompt` stage took them."""
    return "\n".join(one.content for one in messages if one.role == "user").replace(KNOWLEDGE, "").strip()


class TeacherReasker:
    """Implements `learning.reask.Reasker` for one trainer."""

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
        desk: OpenDesk = open_desk,
    ) -> None:
        """`embedder`: handed in by tests; else the knowledge base's own, opened when it is needed. `desk`: opens the teacher's."""
        self._options, self._log, self._owner, self._lease = options, log, owner, lease
        self._state_dir, self._clock, self._embedder = state, clock, embedder
        self._examples = topics.examples(options.id)
        self._desk: TeacherDesk | None = (
            desk(options.teacher, state, clock) if options.teacher and options.teacher.teacher else None
        )
        self._loop = asyncio.new_event_loop()
        self._kept = {*log.state(owner, ANSWERS), *log.state(owner, WITH_PASSAGES)}
        self._last: tuple[int, Reasking] = (-1, Reasking())
        self._asks, self._searches = False, False

    def declare(self, *, asks: bool, searches: bool) -> None:
        """What is declared at the place that the trainer has reached. Where that is long past, the answers are kept."""
        self._asks, self._searches = asks, searches

    @property
    def can_ask(self) -> bool:
        return self._asks

    @property
    def can_search(self) -> bool:
        return self._asks and self._searches

    def example(self, item: Fresh) -> Example | None:
        """Read from its topic; where it was reasked, with the passages of then. None: retention or a redaction took it."""
        found = self._log.read(self._examples, item.offset, max_records=1)
        if not found or found[0].offset != item.offset:
            return None
        [record] = opened(found, self._owner)
        if codec.is_passed(record):
            return None
        example = codec.decode(record, Example)
        if item.reasked_at < 0:
            return example
        reasked = self._reasking(item.reasked_at).answers[item.example_id]
        return msgspec.structs.replace(example, answer=reasked.answer, passages=reasked.passages)

    def reask(self, items: Sequence[Fresh], at_offset: int) -> dict[str, str]:
        """New answers by example id; those that the teacher did not give (budget, outage, refusal) are left out."""
        key = f"{ANSWERS}{at_offset:020d}"
        if (known := self._load(key, dict[str, str])) is not None:
            return known
        asked = self._there(items)
        answers = self._loop.run_until_complete(self._ask_all(asked, f"again/{at_offset}", fresh=True))
        found = {item.example_id: one for (item, _), one in zip(asked, answers, strict=True) if isinstance(one, str)}
        return self._keep(key, found)

    def reask_with_new_passages(self, items: Sequence[Fresh], at_offset: int, at_ms: int) -> Reasking:
        """Finds the items' passages as of `at_ms` on the finetuner's timeline and asks with them.

        UnavailableError where the knowledge base cannot be searched now: nothing is committed, and everything is tried again.
        """
        key = f"{WITH_PASSAGES}{at_offset:020d}"
        if (known := self._load(key, Reasking)) is not None:
            return known
        there = self._there(items)
        try:
            found = self._retrieve([example for _, example in there], at_ms)
        except FinalError as error:  # what cannot be found is dropped, and the decision says why
            return self._keep(key, Reasking(missing=str(error)[:ERROR_AT_MOST]))
        asked = [
            (item, msgspec.structs.replace(example, passages=passages))
            for (item, example), passages in zip(there, found, strict=True)
        ]
        answers = self._loop.run_until_complete(self._ask_all(asked, f"renewed/{at_offset}", fresh=False))
        failed = next((str(one)[:ERROR_AT_MOST] for one in answers if not isinstance(one, str)), "")
        if not failed and len(there) < len(items):
            failed = f"{len(items) - len(there)} examples are no longer in the log"
        reasked = {
            item.example_id: Reasked(answer, example.passages)
            for (item, example), answer in zip(asked, answers, strict=True)
            if isinstance(answer, str)
        }
        return self._keep(key, Reasking(reasked, failed))

    def still_said(self, items: Sequence[Fresh], current: Mapping[str, str | None], at_ms: int) -> frozenset[str]:
        """Ids of the examples whose passages of the changed documents still occur in them, word for word: an edit elsewhere in a
        document is no reason to ask again. `current` as in `Fresh.outdated_by`; read as of `at_ms`, so that a replay finds the same.
        """
        if self._options.knowledge is None:
            return frozenset()
        texts = self._texts([name for name, version in current.items() if version is not None], at_ms)
        return frozenset(
            item.example_id
            for item in items
            if (example := self.example(item)) is not None
            and all(
                one.text in texts.get(one.document, "")
                for one in example.passages
                if one.document in current and current[one.document] != one.version
            )
        )

    def _there(self, items: Sequence[Fresh]) -> list[tuple[Fresh, Example]]:
        """Those whose examples are still in the log, with them."""
        return [(item, example) for item in items if (example := self.example(item)) is not None]

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
        """Keys of what was kept for offsets before `before`, but for the signs at `needed`, whose passages are still learned from."""
        kept = {f"{WITH_PASSAGES}{offset:020d}" for offset in needed}
        return sorted(key for key in self._kept - kept if int(key.partition("/")[2]) < before)

    def forget(self, keys: Collection[str]) -> None:
        """They have been deleted."""
        self._kept -= set(keys)

    def close(self) -> None:
        if self._desk:
            self._loop.run_until_complete(self._desk.close())
        self._loop.close()

    def _reasking(self, at_offset: int) -> Reasking:
        if self._last[0] != at_offset:
            key = f"{WITH_PASSAGES}{at_offset:020d}"
            known = self._load(key, Reasking)
            if known is None:
                raise CorruptDataError(f"what was reasked at {at_offset} is gone", where=f"{self._owner} {key}")
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
        if self._desk is None or self._options.teacher is None:
            return NotFoundError("the teacher was removed")
        try:
            answer = await self._desk.ask(
                fill_knowledge(example.messages, example.passages), owner=self._options.id,
                max_output_tokens=self._options.teacher.output_max, ask_id=ask_id, fresh=fresh, apart=not fresh,
                cites=[(passage.document, passage.version) for passage in example.passages],
            )  # fmt: skip
        except (RetryableError, FinalError) as error:
            return error
        return answer.text
