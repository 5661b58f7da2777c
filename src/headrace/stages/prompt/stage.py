"""prompt: `finetuner.rows` → `finetuner.prompts`: sampled by id, filled into every template, retrieved for once.

A row becomes one prompt per entry of `promptTemplate`; one commit holds prompts, dead letters and the offset. Where documents
changed between two rows, a sign between their prompts says so.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from headrace.events import codec, topics
from headrace.events.addressing import opened
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import dead_record
from headrace.events.message import Message, Passage
from headrace.events.origin import Origin, encode_origin
from headrace.events.prompt import Prompt
from headrace.events.row_codec import row_values, text_of
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id, fraction
from headrace.knowledge.query import AsOf
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog
from headrace.models.embedder import Embedder
from headrace.stages.prompt.knowledge import PromptKnowledge
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.spec import topics_of
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.transform.row_source import root_of

MAX_ROWS = 2_000
MAX_GROUNDED_ROWS = 64
"""Rows at once where each is searched for."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KNOWLEDGE = "knowledge"
_KNOWLEDGE_MARK = "{knowledge}"


def fill(template: str, values: Mapping[str, object]) -> str:
    """Puts the row's values in place of `{column}`; `{knowledge}` stays for the renderer. KeyError: a column that the row has not."""

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name == _KNOWLEDGE else text_of(values.get(name))

    return _PLACEHOLDER.sub(replace, template)


def messages_of(template: PromptTemplate, values: Mapping[str, object]) -> list[Message]:
    """The conversation that the teacher and the student both see."""
    system = fill(template.system_context, values)
    question = Message("user", fill(template.user_question, values))
    return [Message("system", system), question] if system else [question]


class PromptStage:
    """Owns `prompt/NAMESPACE.FINETUNER`."""

    def __init__(
        self,
        options: PromptOptions,
        log: TopicLog,
        holder: str,
        clock: Clock = SYSTEM_CLOCK,
        *,
        state: Path | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        """`state`: the state directory, where there is a knowledge base; `embedder`: handed in by tests."""
        finetuner = options.id
        self.name = f"prompt/{finetuner.path_name}"
        self._options, self._log, self._clock = options, log, clock
        self._rows = topics.rows(finetuner)
        self._prompts = topics.prompts(finetuner)
        self._dead = topics.stage_dead(finetuner, "prompt")
        log.ensure_exists(self._rows)
        for topic in topics_of(options):
            log.ensure_topic(topic)
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, finetuner, "prompt", clock)
        self._offset = log.offset(self.name, self._rows)
        kept = log.state(self.name)
        saved = kept.get("counts")
        self._counts = (
            msgspec.json.decode(saved.value, type=dict[str, int]) if saved else {"sampled": 0, "passedOver": 0}
        )

        self._knowledge: PromptKnowledge | None = None
        if options.knowledge is not None:
            assert state is not None
            known = kept.get("knowledge")
            self._knowledge = PromptKnowledge(
                options.knowledge, log, state, known.value if known else None,
                timeline=options.timeline, limit=options.knowledge_limit, clock=clock, embedder=embedder,
            )  # fmt: skip

    def step(self) -> bool:
        rows = MAX_GROUNDED_ROWS if self._knowledge else MAX_ROWS
        records = opened(self._log.read(self._rows, self._offset, max_records=rows), self.name)
        if not records:
            self._reporter.flush()
            return False
        if self._knowledge and not self._knowledge.ready():
            waiting = "rows wait until the documents that arrived before them are indexed"
            self._reporter.say(Condition("Prompting", "False", "WaitingForKnowledge", waiting), progress=self._counts)
            return False
        prompts: list[NewRecord] = []
        dead: list[NewRecord] = []
        found = self._retrieve(records) if self._knowledge else {}
        for record in records:
            self._take(record, prompts, dead, found)
        self._commit(prompts, dead, records[-1].offset + 1)
        if self._knowledge:
            self._knowledge.passed()
        return True

    def say_last(self) -> None:
        self._reporter.end(self._lease)

    def close(self) -> None:
        if self._knowledge:
            self._knowledge.close()

    def _retrieve(self, records: Sequence[Record]) -> dict[tuple[int, int], list[Passage]]:
        """Passages by row offset and template, for templates that have a place for them."""
        assert self._knowledge is not None
        asked: list[tuple[int, int]] = []
        questions: list[str] = []
        moments: list[AsOf] = []
        for record in records:
            if not codec.is_data(record) or not self._sampled(record):
                continue
            values = row_values(record)
            for index, template in enumerate(self._options.templates):
                if _KNOWLEDGE_MARK in template.user_question + template.system_context:
                    asked.append((record.offset, index))
                    questions.append(fill(template.user_question, values).replace(_KNOWLEDGE_MARK, "").strip())
                    moments.append(self._knowledge.moment(record))
        return dict(zip(asked, self._knowledge.passages(questions, moments), strict=True))

    def _sampled(self, record: Record) -> bool:
        return fraction(record.id, "sample") < self._options.sample_ratio

    def _signs(self, record: Record) -> list[NewRecord]:
        """What changed in the documents since the row before."""
        if self._knowledge is None:
            return []
        return [
            NewRecord(
                derive_id(self.name, record.id, "documents", place),
                codec.CONTROL,
                codec.encode(sign),
                record.event_time,
            )
            for place, sign in enumerate(self._knowledge.signs(self._knowledge.moment(record)))
        ]

    def _take(
        self,
        record: Record,
        prompts: list[NewRecord],
        dead: list[NewRecord],
        found: Mapping[tuple[int, int], list[Passage]],
    ) -> None:
        if codec.is_passed(record):
            return
        if record.kind == codec.CONTROL:
            prompts.append(NewRecord(derive_id(self.name, record.id), record.kind, record.value, record.event_time))
            return
        prompts += self._signs(record)
        if not self._sampled(record):
            self._counts["passedOver"] += 1
            return
        self._counts["sampled"] += 1
        values = row_values(record)
        answer = self._answer(values)
        if answer == "":
            dead.append(self._letter(record))
            return
        teacher = self._teacher(values)
        for index, template in enumerate(self._options.templates):
            passages = found.get((record.offset, index), [])
            prompts.append(self._prompt(record, index, messages_of(template, values), passages, answer, teacher))

    def _prompt(
        self,
        record: Record,
        index: int,
        messages: list[Message],
        passages: list[Passage],
        answer: str | None,
        teacher: str,
    ) -> NewRecord:
        prompt = Prompt(
            record.id,
            root_of(record.id, chained=self._options.chained),
            index,
            len(self._options.templates),
            messages,
            passages,
            ground_truth=answer,
            teacher=teacher,
        )
        return NewRecord(
            derive_id(self._options.id.name, record.id, index),
            codec.kind_of(prompt),
            codec.encode(prompt),
            record.event_time,
            key=record.id,
            origin=encode_origin(Origin(topic=self._rows, offset=record.offset, id=record.id)),
            ingested_at=record.ingested_at,
        )

    def _answer(self, values: Mapping[str, object]) -> str | None:
        """The row's own answer; '' where it should have one and has not; None where a teacher is asked."""
        column = "answer" if self._options.chained else self._options.ground_truth_column
        return text_of(values.get(column)) if column else None

    def _teacher(self, values: Mapping[str, object]) -> str:
        if self._options.chained:
            return text_of(values.get("teacher"))
        return f"column:{self._options.ground_truth_column}" if self._options.ground_truth_column else ""

    def _letter(self, record: Record) -> NewRecord:
        column = "answer" if self._options.chained else self._options.ground_truth_column
        letter = DeadLetter(
            "prompt",
            "no_ground_truth",
            f"the column {column} is empty, so there is nothing to learn",
            record.id,
            record.value.decode(errors="backslashreplace")[: 64 << 10],
            source_topic=self._rows,
            source_offset=record.offset,
            reader=self.name,
        )
        return dead_record(derive_id(self._rows, record.offset, "prompt"), letter, record.event_time)

    def _commit(self, prompts: list[NewRecord], dead: list[NewRecord], offset: int) -> None:
        state: dict[StateKey, bytes | None] = {StateKey(self.name, "counts"): msgspec.json.encode(self._counts)}
        if self._knowledge:
            state[StateKey(self.name, "knowledge")] = msgspec.msgpack.encode(self._knowledge.state)
        failpoint("prompt.commit.before")
        self._log.commit(
            Commit(
                appends=[a for a in (Append(self._prompts, prompts), Append(self._dead, dead)) if a.records],
                offsets=[GroupOffset(self.name, self._rows, offset)],
                state=state,
                lease=self._lease,
            )
        )
        failpoint("prompt.commit.after")
        self._offset = offset
        self._reporter.say(Condition("Prompting", "True", "Running"), progress=self._counts)
