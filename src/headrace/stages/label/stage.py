"""label: `finetuner.prompts` → `finetuner.examples`, in input order, regardless of the order in which answers arrive.

The desk asks on an event loop of its own and stores every outcome when it arrives. `step` only collects: what is finished from the
front of the queue on is committed, as examples, dead letters in the places of refused prompts, and the offset. What is finished
further behind waits for its turn. `outage.py` says when asking pauses and when a prompt is given up.

Where documents changed, everything before the sign is committed first, then cached answers made from their other versions are
deleted, then the sign passes. Prompts behind it that cite one of these documents are asked after that, the rest meanwhile.
"""

from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from headrace.events import codec, topics
from headrace.events.addressing import opened
from headrace.events.prompt import Prompt
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FinalError, HeadraceError
from headrace.foundation.failpoints import failpoint
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog
from headrace.models.knowledge_text import fill_knowledge
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.outage import TROUBLE, OutageJudge
from headrace.stages.label.output import Batch, LabelOutput
from headrace.stages.label.pending import Failed, Outcome, Pending, pending_of
from headrace.stages.label.spec import topics_of
from headrace.stages.label.teacher_desk import RunDesk, run_desk
from headrace.stages.label.without_teacher import settled
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_thread import RunningDesk
from headrace.teachers.teacher import AnsweredError, BudgetSpentError, TeacherRejectedError

WAIT_SECONDS = 0.02
COMMIT_AT_MOST = 500
PRUNE_SECONDS = 3600.0


class LabelStage:
    """Owns `label/NAMESPACE.FINETUNER`. Opened and closed by itself; others use the same store of answers meanwhile."""

    def __init__(
        self,
        options: LabelOptions,
        log: TopicLog,
        holder: str,
        state: Path,
        clock: Clock = SYSTEM_CLOCK,
        *,
        desk: RunDesk = run_desk,
    ) -> None:
        """`state`: the state directory, where the teachers' answers are kept. `desk`: opens the desk and runs it."""
        finetuner = options.id
        self.name = f"label/{finetuner.path_name}"
        self._options, self._log, self._clock = options, log, clock
        self._owner = finetuner
        self._prompts = topics.prompts(finetuner)
        self._examples = topics.examples(finetuner)
        self._dead = topics.stage_dead(finetuner, "label")
        log.ensure_exists(self._prompts)
        for topic in topics_of(options):
            log.ensure_topic(topic)
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, self._owner, "label", clock)
        self._offset = self._read_offset = log.offset(self.name, self._prompts)
        saved = log.state(self.name).get("counts")
        self._counts = (
            msgspec.json.decode(saved.value, type=dict[str, int]) if saved else {"examples": 0, "deadLetters": 0}
        )
        self._output = LabelOutput(self.name, self._prompts, options.teacher.name if options.teacher else "")
        self._queue: deque[Pending] = deque()
        self._desk = desk(options, state, clock) if options.teacher else None
        self._judge = OutageJudge(self._desk, self._owner, options.max_attempts, clock) if self._desk else None
        self._tidied_at: float | None = None

    def step(self) -> bool:
        if self._desk:
            self._desk.check()
            self._tidy(self._desk)
        self._fill()
        if not self._queue:
            self._reporter.flush()
            return False
        if self._judge:
            self._ask_waiting()
            self._wait(self._judge)
            self._judge.look(self._queue)
        batch = self._collect()
        if batch.next_offset >= 0:
            self._commit(batch)
        elif self._judge and self._judge.trouble:
            self._say_trouble(self._judge.trouble, self._judge.away_ms)
        elif self._queue and self._queue[0].attempts:
            self._say_attempts(self._queue[0])
        return batch.next_offset >= 0 or bool(self._judge and not self._judge.pauses)

    def say_last(self) -> None:
        self._reporter.end(self._lease)

    def close(self) -> None:
        """Waits a moment for calls that have left, so that what they cost is not lost."""
        if self._desk:
            self._desk.close(self._options.close_grace_seconds)

    def _fill(self) -> None:
        room = max(64, 4 * self._options.concurrency) - len(self._queue)
        if room <= 0:
            return
        records = opened(self._log.read(self._prompts, self._read_offset, max_records=room), self.name)
        found = (pending_of(record) for record in records)
        if self._desk is None:
            found = (settled(one, self._log, self._options.ground_truth) for one in found)
        self._queue.extend(found)
        if records:
            self._read_offset = records[-1].offset + 1

    def _ask_waiting(self) -> None:
        """Asks what may be asked now: nothing behind a sign that cites a document which changes there, and no prompt whose words stand in an
        earlier one that failed and is asked again, so that the first of them pays, whenever the teacher is away.
        """
        assert self._desk
        assert self._judge
        opened = sum(one.is_open for one in self._queue)
        changing: set[str] = set()
        failed: list[Prompt] = []
        for one in self._queue:
            changing |= one.changed.keys()
            if one.prompt is not None and one.failure is not None:
                failed.append(one.prompt)
            if one.prompt is None or not one.to_ask:
                continue
            if not changing.isdisjoint(passage.document for passage in one.prompt.passages):
                continue
            if any(_same_words(one.prompt, other) for other in failed):
                continue
            if not self._judge.may_ask(opened):
                return
            opened += 1
            record, prompt = one.record, one.prompt
            one.asked = self._desk.submit(
                lambda desk, record=record, prompt=prompt: self._ask(desk, record.id, record.offset, prompt)
            )

    async def _ask(self, desk: TeacherDesk, prompt_id: str, offset: int, prompt: Prompt) -> Outcome:
        try:
            return await desk.ask(
                fill_knowledge(prompt.messages, prompt.passages), owner=self._owner,
                max_output_tokens=self._options.output_max, ask_id=prompt_id, place=offset,
                cites=[(passage.document, passage.version) for passage in prompt.passages],
            )  # fmt: skip
        except AnsweredError as error:
            return error
        except TROUBLE as error:
            return Failed(error, desk.calls_left)

    def _wait(self, judge: OutageJudge) -> None:
        """Gives the first answer a moment to arrive; where that has failed, whatever shows whether the teacher is well."""
        front = self._queue[0]
        if front.waits:
            shows = [one.asked for one in self._queue if one.in_flight] if front.failure else [front.asked]
            futures: list[Future[Any]] = [one for one in (*shows, judge.probe) if one]
            assert self._desk
            self._desk.wait(futures, WAIT_SECONDS)

    def _collect(self) -> Batch:
        batch = Batch()
        while self._queue and len(batch.examples) < COMMIT_AT_MOST:
            pending = self._queue[0]
            if pending.waits:
                break
            if pending.changed and self._desk:
                if batch.next_offset >= 0:
                    break  # an answer may be deleted only after its commit: a crash must not cause a second request
                changed = pending.changed
                self._desk.run(lambda desk, changed=changed: desk.renew(self._owner, changed))
            self._settle(pending, batch)
            batch.next_offset = pending.record.offset + 1
            self._queue.popleft()
        return batch

    def _settle(self, pending: Pending, batch: Batch) -> None:
        """Puts the front of the queue into the batch."""
        if pending.prompt is None:
            if pending.record.kind == codec.CONTROL:
                batch.examples.append(self._output.sign(pending.record))
            return
        outcome = pending.outcome
        if isinstance(outcome, FinalError):
            batch.dead.append(self._output.letter(pending.record, outcome))
            return
        assert not isinstance(outcome, Failed)
        if self._judge:
            self._judge.well()
        batch.examples.append(self._output.example(pending.record, pending.prompt, outcome))

    def _commit(self, batch: Batch) -> None:
        self._counts["examples"] += batch.examples_only
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

    def _say_trouble(self, error: HeadraceError, away_ms: float) -> None:
        """Everything waits, and is asked again later."""
        reason = "Unavailable"
        if isinstance(error, BudgetSpentError):
            reason = "BudgetSpent"
        elif isinstance(error, TeacherRejectedError):
            reason = "Rejected"
        if away_ms >= self._options.unavailable_timeout_ms:
            reason = "UnavailableTimeout"
        self._reporter.say(Condition("TeacherAvailable", "False", reason, str(error)), progress=self._progress())

    def _say_attempts(self, front: Pending) -> None:
        """The first prompt holds up the line."""
        said = f"prompt {front.record.id} failed {front.attempts} of {self._options.max_attempts} times; other prompts are answered"
        self._reporter.say(Condition("TeacherAvailable", "True", "Retrying", said), progress=self._progress())

    def _tidy(self, desk: RunningDesk) -> None:
        """At first and then once an hour: accounts for what dead processes left, and keeps the store within its bounds."""
        now = self._clock.monotonic()
        if self._tidied_at is None or now - self._tidied_at >= PRUNE_SECONDS:
            self._tidied_at = now
            desk.run(lambda it: it.reconcile())
            offset = self._offset
            desk.run(lambda it: it.prune(self._owner, offset))

    def _progress(self) -> dict[str, int | float | str]:
        progress: dict[str, int | float | str] = dict(self._counts)
        if self._desk:
            owner = self._owner

            async def spent(desk: TeacherDesk):
                return desk.spent(owner)

            found = self._desk.run(spent)
            progress |= {
                "teacherCalls": found.calls, "cached": found.cached, "inputTokens": found.input_tokens,
                "outputTokens": found.output_tokens, "usd": found.usd, "openCalls": found.open_reservations,
                "callsLostToKills": found.killed_calls, "callsLostOnTheWay": found.broken_calls,
                "lostTokens": found.lost_tokens, "lostUsd": found.lost_usd,
            }  # fmt: skip
        return progress


def _same_words(one: Prompt, other: Prompt) -> bool:
    """Whether one answer serves both."""
    return one.messages == other.messages and one.passages == other.passages
