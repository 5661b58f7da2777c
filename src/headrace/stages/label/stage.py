"""label: `finetuner.prompts` → `finetuner.examples`, in input order, however the answers come in.

The teacher is asked concurrently; what is answered from the front of the queue on is committed: examples, dead letters in
the places of refused prompts, and the offset. An outage pauses the stage; the rows wait.

Where documents changed, everything before the sign is committed first, then cached answers made from their other versions are
let go, then the sign passes. Prompts behind it that cite one of these documents are asked after that, the rest meanwhile.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import DEAD_RETENTION_MS, dead_record
from headrace.events.example import Example
from headrace.events.origin import Origin, encode_origin
from headrace.events.prompt import Prompt
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FinalError, RetryableError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.models.knowledge_text import fill_knowledge
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.teacher_desk import open_desk
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.teachers.desk import DeskAnswer, TeacherDesk
from headrace.teachers.teacher import BudgetSpentError, RefusedError, TeacherRejectedError, UnusableAnswerError

WAIT_SECONDS = 0.02
PAUSE_SECONDS = 2.0
COMMIT_AT_MOST = 500


@dataclass(slots=True)
class _Pending:
    """A prompt on its way to an example."""

    record: Record
    prompt: Prompt | None
    """None: a control record, which keeps its place"""
    changed: dict[str, str | None]
    """What its sign says: by document the version that holds behind it, None where it is gone."""
    asked: "asyncio.Task[DeskAnswer] | None" = None
    failures: int = 0

    @property
    def is_for_teacher(self) -> bool:
        """Whether its answer does not stand in the row."""
        return self.prompt is not None and self.prompt.ground_truth is None

    @property
    def waits(self) -> bool:
        """For its answer, or to be asked at all."""
        return self.is_for_teacher and not (self.asked and self.asked.done())


@dataclass(slots=True)
class _Batch:
    """The front of the queue, ready to be committed."""

    examples: list[NewRecord] = field(default_factory=list[NewRecord])
    dead: list[NewRecord] = field(default_factory=list[NewRecord])
    next_offset: int = -1


class LabelStage:
    """Owns `label/NAMESPACE.FINETUNER`. One event loop, driven by `step`."""

    def __init__(
        self, options: LabelOptions, log: TopicLog, holder: str, state: Path, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`state`: the state directory, where the teachers' answers are kept."""
        namespace, finetuner = options.namespace, options.finetuner
        self.name = f"label/{namespace}.{finetuner}"
        self._options, self._log, self._clock = options, log, clock
        self._finetuner = f"{namespace}/{finetuner}"
        self._prompts = topics.prompts(namespace, finetuner)
        self._examples = topics.examples(namespace, finetuner)
        self._dead = topics.stage_dead(namespace, finetuner, "label")
        log.ensure_exists(self._prompts)
        log.ensure_topic(TopicSpec(self._examples))
        log.ensure_topic(TopicSpec(self._dead, retention_ms=DEAD_RETENTION_MS))
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, f"StreamFinetuner/{namespace}/{finetuner}", "label", clock)
        self._offset = self._read_offset = log.offset(self.name, self._prompts)
        saved = log.state(self.name).get("counts")
        self._counts = (
            msgspec.json.decode(saved.value, type=dict[str, int]) if saved else {"examples": 0, "deadLetters": 0}
        )
        self._queue: deque[_Pending] = deque()
        self._desk: TeacherDesk | None = open_desk(options, state, clock) if options.teacher else None
        self._loop = asyncio.new_event_loop()
        self._away_since: float | None = None
        self._resume_at = 0.0

    def step(self) -> bool:
        self._fill()
        if not self._queue:
            return False
        if self._clock.monotonic() < self._resume_at:
            return False
        self._loop.run_until_complete(self._turn())
        batch = self._collect()
        if batch.next_offset >= 0:
            self._commit(batch)
        return True

    def close(self) -> None:
        for pending in self._queue:
            if pending.asked:
                pending.asked.cancel()
        if self._desk:
            self._loop.run_until_complete(self._desk.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _fill(self) -> None:
        room = max(64, 4 * self._options.concurrency) - len(self._queue)
        if room <= 0:
            return
        records = self._log.read(self._prompts, self._read_offset, max_records=room)
        for record in records:
            if record.kind == codec.CONTROL:
                changes = codec.decode(record, Control).changes
                changed = {one.document: None if one.deleted else one.version for one in changes}
                self._queue.append(_Pending(record, None, changed))
            else:
                self._queue.append(_Pending(record, codec.decode(record, Prompt), {}))
        if records:
            self._read_offset = records[-1].offset + 1

    async def _turn(self) -> None:
        """Asks what is not asked yet and gives the answers a moment to come in."""
        changing: set[str] = set()
        for pending in self._queue:
            changing |= pending.changed.keys()
            prompt = pending.prompt
            if pending.asked or prompt is None or not pending.is_for_teacher:
                continue
            if changing.isdisjoint(passage.document for passage in prompt.passages):
                pending.asked = self._loop.create_task(self._ask(pending.record.id, prompt))
        first = self._queue[0].asked
        if first and not first.done():
            await asyncio.wait([first], timeout=WAIT_SECONDS)

    async def _ask(self, prompt_id: str, prompt: Prompt) -> DeskAnswer:
        if self._desk is None:
            raise TeacherRejectedError("no teacher is declared and the row carries no answer")
        return await self._desk.ask(
            fill_knowledge(prompt.messages, prompt.passages), finetuner=self._finetuner,
            max_output_tokens=self._options.output_max, ask_id=prompt_id,
            cites=[(passage.document, passage.version) for passage in prompt.passages],
        )  # fmt: skip

    def _collect(self) -> _Batch:
        batch = _Batch()
        while self._queue and len(batch.examples) < COMMIT_AT_MOST:
            pending = self._queue[0]
            if pending.waits:
                break
            if pending.changed and self._desk:
                if batch.next_offset >= 0:
                    break  # an answer is committed before it may be forgotten: after a crash it is not asked for again
                self._loop.run_until_complete(self._desk.renew(self._finetuner, pending.changed))
            if not self._settle(pending, batch):
                break
            batch.next_offset = pending.record.offset + 1
            self._queue.popleft()
        return batch

    def _settle(self, pending: _Pending, batch: _Batch) -> bool:
        """Puts the front of the queue into the batch. False: it must wait."""
        if pending.prompt is None:
            record = pending.record
            batch.examples.append(
                NewRecord(derive_id(self.name, record.id), record.kind, record.value, record.event_time)
            )
            return True
        try:
            answer = pending.asked.result() if pending.asked else None
        except (RefusedError, UnusableAnswerError) as error:
            batch.dead.append(self._letter(pending, error))
            return True
        except (RetryableError, FinalError) as error:
            self._pause(pending, error)
            return False
        self._away_since = None
        batch.examples.append(self._example(pending.record, pending.prompt, answer))
        return True

    def _pause(self, pending: _Pending, error: RetryableError | FinalError) -> None:
        """The teacher is away, the budget is spent or the key is wrong: everything waits, and is asked again later."""
        for waiting in self._queue:
            if waiting.asked and waiting.asked.done() and waiting.asked.exception():
                waiting.asked = None
        pending.failures += 1
        now = self._clock.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        away_ms = (now - self._away_since) * 1000
        after = getattr(error, "retry_after_seconds", None) or PAUSE_SECONDS
        self._resume_at = now + min(after, 60.0)
        reason = "Unavailable"
        if isinstance(error, BudgetSpentError):
            reason = "BudgetSpent"
        elif isinstance(error, TeacherRejectedError):
            reason = "Rejected"
        if away_ms >= self._options.unavailable_timeout_ms:
            reason = "UnavailableTimeout"
        self._reporter.say(Condition("TeacherAvailable", "False", reason, str(error)), progress=self._progress())

    def _example(self, record: Record, prompt: Prompt, answer: DeskAnswer | None) -> NewRecord:
        teacher = self._options.teacher
        example = Example(
            prompt.row_id, prompt.root_id, prompt.index, prompt.count, prompt.messages,
            answer.text if answer else prompt.ground_truth or "",
            f"{teacher.name}/{answer.model}" if answer and teacher else prompt.teacher,
            passages=prompt.passages,
        )  # fmt: skip
        if answer:
            example = msgspec.structs.replace(example, price=answer.price, cached=answer.cached)
        return NewRecord(
            record.id, codec.kind_of(example), codec.encode(example), record.event_time,
            key=f"{prompt.row_id}#{prompt.index}",
            origin=encode_origin(Origin(topic=self._prompts, offset=record.offset, id=record.id)),
            ingested_at=record.ingested_at,
        )  # fmt: skip

    def _letter(self, pending: _Pending, error: FinalError) -> NewRecord:
        record = pending.record
        code = "refused" if isinstance(error, RefusedError) else "unusable_answer"
        letter = DeadLetter(
            "label", code, str(error), record.id, record.value.decode(errors="backslashreplace")[: 64 << 10],
            source_topic=self._prompts, source_offset=record.offset, replayable=code == "unusable_answer",
        )  # fmt: skip
        return dead_record(derive_id(self._prompts, record.offset, "label"), letter, record.event_time)

    def _commit(self, batch: _Batch) -> None:
        self._counts["examples"] += sum(record.kind != codec.CONTROL for record in batch.examples)
        self._counts["deadLetters"] += len(batch.dead)
        failpoint("label.commit.before")
        self._log.commit(
            Commit(
                appends=[
                    a for a in (Append(self._examples, batch.examples), Append(self._dead, batch.dead)) if a.records
                ],
                offsets=[GroupOffset(self.name, self._prompts, batch.next_offset)],
                state={StateKey(self.name, "counts"): msgspec.json.encode(self._counts)},
                lease=self._lease,
            )
        )
        failpoint("label.commit.after")
        self._offset = batch.next_offset
        self._reporter.say(Condition("TeacherAvailable", "True", "Answering"), progress=self._progress())

    def _progress(self) -> dict[str, int | float | str]:
        progress: dict[str, int | float | str] = dict(self._counts)
        if self._desk:
            spent = self._desk.spent(self._finetuner)
            progress |= {
                "teacherCalls": spent.calls, "cached": spent.cached, "inputTokens": spent.input_tokens,
                "outputTokens": spent.output_tokens, "usd": spent.usd,
            }  # fmt: skip
        return progress
