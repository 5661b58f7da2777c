"""prompt: `finetuner.rows` → `finetuner.prompts`: sampled by id, filled into every template, retrieved for once.

A row becomes one prompt per entry of `promptTemplate`; one commit holds prompts, dead letters and the offset.
"""

import re
from collections.abc import Mapping

import msgspec

from headrace.events import codec, topics
from headrace.events.dead_letter import DeadLetter
from headrace.events.message import Message
from headrace.events.origin import Origin, encode_origin
from headrace.events.prompt import Prompt
from headrace.events.row_codec import row_values, text_of
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id, fraction
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.stages.ingest import DEAD_RETENTION_MS, dead_record
from headrace.stages.options import PromptOptions, PromptTemplate
from headrace.stages.row_source import root_of
from headrace.stages.stage import Condition, StageReporter, take_lease

MAX_ROWS = 2_000
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KNOWLEDGE = "knowledge"


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

    def __init__(self, options: PromptOptions, log: TopicLog, holder: str, clock: Clock = SYSTEM_CLOCK) -> None:
        namespace, finetuner = options.namespace, options.finetuner
        self.name = f"prompt/{namespace}.{finetuner}"
        self._options, self._log, self._clock = options, log, clock
        self._rows = topics.rows(namespace, finetuner)
        self._prompts = topics.prompts(namespace, finetuner)
        self._dead = topics.stage_dead(namespace, finetuner, "prompt")
        log.ensure_topic(TopicSpec(self._rows))
        log.ensure_topic(TopicSpec(self._prompts))
        log.ensure_topic(TopicSpec(self._dead, retention_ms=DEAD_RETENTION_MS))
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, f"StreamFinetuner/{namespace}/{finetuner}", "prompt", clock)
        self._offset = log.offset(self.name, self._rows)
        saved = log.state(self.name).get("counts")
        self._counts = (
            msgspec.json.decode(saved.value, type=dict[str, int]) if saved else {"sampled": 0, "passedOver": 0}
        )

    def step(self) -> bool:
        records = self._log.read(self._rows, self._offset, max_records=MAX_ROWS)
        if not records:
            return False
        prompts: list[NewRecord] = []
        dead: list[NewRecord] = []
        for record in records:
            self._take(record, prompts, dead)
        self._commit(prompts, dead, records[-1].offset + 1)
        return True

    def close(self) -> None:
        """Holds nothing."""

    def _take(self, record: Record, prompts: list[NewRecord], dead: list[NewRecord]) -> None:
        if record.kind == codec.CONTROL:
            prompts.append(NewRecord(derive_id(self.name, record.id), record.kind, record.value, record.event_time))
            return
        if fraction(record.id, "sample") >= self._options.sample_ratio:
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
            prompts.append(self._prompt(record, index, messages_of(template, values), answer, teacher))

    def _prompt(
        self, record: Record, index: int, messages: list[Message], answer: str | None, teacher: str
    ) -> NewRecord:
        prompt = Prompt(
            record.id,
            root_of(record.id),
            index,
            len(self._options.templates),
            messages,
            ground_truth=answer,
            teacher=teacher,
        )
        return NewRecord(
            derive_id(self._options.finetuner, record.id, index),
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
            f"the column {column} is empty: there is nothing to learn",
            record.id,
            record.value.decode(errors="backslashreplace")[: 64 << 10],
            source_topic=self._rows,
            source_offset=record.offset,
        )
        return dead_record(derive_id(self._rows, record.offset, "prompt"), letter, record.event_time)

    def _commit(self, prompts: list[NewRecord], dead: list[NewRecord], offset: int) -> None:
        failpoint("prompt.commit.before")
        self._log.commit(
            Commit(
                appends=[a for a in (Append(self._prompts, prompts), Append(self._dead, dead)) if a.records],
                offsets=[GroupOffset(self.name, self._rows, offset)],
                state={StateKey(self.name, "counts"): msgspec.json.encode(self._counts)},
                lease=self._lease,
            )
        )
        failpoint("prompt.commit.after")
        self._offset = offset
        self._reporter.say(Condition("Prompting", "True", "Running"), progress=self._counts)
