"""Asks the teacher again about things already learned, on drift; the answers are committed before they are used, so that a
restart at the same offset gives the same ones without asking.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.events import codec, topics
from headrace.events.example import Example
from headrace.foundation.clock import Clock
from headrace.foundation.errors import FinalError, RetryableError
from headrace.foundation.failpoints import failpoint
from headrace.learning.fresh import Fresh
from headrace.log.topic_log import Commit, Lease, StateKey, TopicLog
from headrace.stages.options import TrainOptions
from headrace.stages.teacher_desk import open_desk
from headrace.teachers.desk import TeacherDesk


class Reasker:
    """Serves one trainer."""

    def __init__(
        self, options: TrainOptions, log: TopicLog, owner: str, lease: Lease, state: Path, clock: Clock
    ) -> None:
        self._options, self._log, self._owner, self._lease = options, log, owner, lease
        self._examples = topics.examples(options.namespace, options.finetuner)
        self._desk: TeacherDesk | None = (
            open_desk(options.teacher, state, clock) if options.teacher and options.teacher.teacher else None
        )
        self._loop = asyncio.new_event_loop()

    @property
    def can_ask(self) -> bool:
        return self._desk is not None

    def example(self, item: Fresh) -> Example:
        """The whole example behind a tokenized one, read from its topic."""
        return codec.decode(self._log.read(self._examples, item.offset, max_records=1)[0], Example)

    def ask_again(self, items: Sequence[Fresh], at_offset: int) -> dict[str, str]:
        """New answers by example id; those that the teacher did not give (budget, outage, refusal) are left out."""
        key = StateKey(self._owner, f"reasked/{at_offset:020d}")
        known = self._log.state(key.owner, key.key).get(key.key)
        if known:
            return msgspec.json.decode(known.value, type=dict[str, str])
        answers = self._loop.run_until_complete(self._ask_all(items, at_offset)) if self._desk else {}
        failpoint("train.reask.before")
        self._log.commit(Commit(state={key: msgspec.json.encode(answers)}, lease=self._lease))
        failpoint("train.reask.after")
        return answers

    def close(self) -> None:
        if self._desk:
            self._loop.run_until_complete(self._desk.close())
        self._loop.close()

    async def _ask_all(self, items: Sequence[Fresh], at_offset: int) -> dict[str, str]:
        answers = await asyncio.gather(*(self._ask(item, at_offset) for item in items))
        return {item.example_id: text for item, text in zip(items, answers, strict=True) if text is not None}

    async def _ask(self, item: Fresh, at_offset: int) -> str | None:
        assert self._desk is not None
        assert self._options.teacher is not None
        example = self.example(item)
        try:
            answer = await self._desk.ask(
                example.messages,
                finetuner=f"{self._options.namespace}/{self._options.finetuner}",
                max_output_tokens=self._options.teacher.output_max,
                ask_id=f"again/{at_offset}/{item.example_id}",
                fresh=True,
            )
        except (RetryableError, FinalError):
            return None  # what is not answered stays as it was; the decision's record counts how many were
        return answer.text
