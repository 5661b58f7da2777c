"""train: `finetuner.examples` → weights, scores, decisions, versions.

A checkpoint directory is written first, content-addressed and fsynced; then one log transaction commits its digest, the input
offset, scores, decisions, dead letters and the registry. A directory that no commit names is garbage. After a restart the
loop continues from the newest complete checkpoint: where that is not the last one, what it repeats is already published
and is not published again.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from headrace.events import codec, topics
from headrace.events.addressing import opened
from headrace.events.control import Control
from headrace.events.decision import Command
from headrace.events.example import Example
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import ConflictError, CorruptDataError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.learning.learner import Learner, LearnerOptions
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.models.embedder import Embedder
from headrace.models.renderer import open_renderer
from headrace.promotion import registry
from headrace.stages.label.teacher_desk import OpenDesk, open_desk
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.train import version_store
from headrace.stages.train.declaration import Declared, decision_of
from headrace.stages.train.finetune_loop import FinetuneLoop
from headrace.stages.train.history import History
from headrace.stages.train.loop_output import LoopOutput
from headrace.stages.train.model import Model, load_registry, open_registry
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.output_commit import OutputCommit
from headrace.stages.train.reask import TeacherReasker
from headrace.stages.train.spec import topics_of
from headrace.stages.train.train_state import Checkpoint, TrainState, read_train_state

MAX_EXAMPLES = 64
CHECKPOINTS_KEPT = 2
OpenLearner = Callable[[LearnerOptions], Learner]


def open_torch(options: LearnerOptions) -> Learner:
    """The learner of the installed technology."""
    from headrace.learning.torch import open_learner

    return open_learner(options)


class TrainStage:
    """Owns `train/NAMESPACE.FINETUNER`."""

    def __init__(
        self,
        options: TrainOptions,
        log: TopicLog,
        holder: str,
        state: Path,
        clock: Clock = SYSTEM_CLOCK,
        *,
        learner: OpenLearner = open_torch,
        embedder: Embedder | None = None,
        desk: OpenDesk = open_desk,
    ) -> None:
        """`learner`: opens the numerical side. `embedder`: handed in by tests; else opened as the options say.

        `desk`: opens the teacher's desk, for questions that are asked again.
        """
        finetuner = options.id
        self.name = f"train/{finetuner.path_name}"
        self._options, self._log, self._clock = options, log, clock
        self._examples = topics.examples(finetuner)
        self._commands = topics.commands(finetuner)
        log.ensure_exists(self._examples)
        for topic in (*topics_of(options), TopicSpec(self._commands)):
            log.ensure_topic(topic)
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, finetuner, "train", clock)
        self._reporter.say(Condition("Learning", "False", "Starting", "loading the model"), now=True)
        self._store = version_store.checkpoints(state, finetuner)
        self._versions = version_store.versions(state, finetuner)
        self._state = read_train_state(log, finetuner) or TrainState()
        self._pending = LoopOutput()
        self._keep_alias = False
        self._taken_up = dict(self._state.taken_up)
        self._history = History(self._state.declared)
        reasker = TeacherReasker(options, log, self.name, self._lease, state, clock, embedder=embedder, desk=desk)
        self._begin(learner, reasker)
        self._checkpointed_at = clock.monotonic()
        self._started_at: float | None = None
        self._started_examples = self._loop.learning.examples

    def _begin(self, learner: OpenLearner, reasker: TeacherReasker) -> None:
        """Opens the model and goes back to the newest whole checkpoint."""
        options, state = self._options, self._state
        begins = not state.checkpoints and state.model is None
        self._reasker = reasker
        try:
            self._registry, self._registry_version = open_registry(
                options, self._log, self._versions, self._lease, self._clock, begins=begins
            )
            self._model = Model.of(options, self._registry, self._versions, state.model)
            self._declaration = self._model.declaration(options)
            self._loop = FinetuneLoop(
                self._declaration, learner(self._declaration.learning.learner), open_renderer(self._model.base),
                self._examples, self._versions, reasker, self._clock,
            )  # fmt: skip
            self._offset, self._commands_offset = self._restore()
        except BaseException:
            reasker.close()
            raise

    def step(self) -> bool:
        declared = self._declare()
        records = opened(self._log.read(self._examples, self._offset, max_records=MAX_EXAMPLES), self.name)
        for record in records:
            self._take_up(new=self._loop.learning.at_round_boundary)
            self._feed(record)
            self._offset = record.offset + 1
            if self._pending.must_commit:
                self._checkpoint()
        if not records:
            self._take_up(new=True)
        if self._due():
            self._checkpoint()
        self._report(records)
        return declared or bool(records)

    def say_last(self) -> None:
        self._reporter.end(self._lease)

    def close(self) -> None:
        self._reasker.close()

    def _feed(self, record: Record) -> None:
        if codec.is_passed(record):
            return
        if record.kind == codec.CONTROL:
            sign = codec.decode(record, Control)
            if sign.sign == "documents":
                self._pending.extend(self._loop.documents_changed(record.offset, sign))
                return
            self._pending.extend(self._loop.end_of_input())
            end = NewRecord(derive_id(self.name, record.id), record.kind, record.value, record.event_time)
            self._pending.ends.append((record.offset, end))
            self._pending.must_commit = True
            return
        example = codec.decode(record, Example)
        self._pending.extend(self._loop.take(record, example))

    def _due(self) -> bool:
        """The first checkpoint is due at once: which declaration was the first must not depend on when an example comes."""
        if self._pending.must_commit or not self._state.checkpoints:
            return True
        if self._offset == self._state.checkpoints[-1].offset:
            return False
        elapsed_ms = (self._clock.monotonic() - self._checkpointed_at) * 1000
        return elapsed_ms >= self._options.checkpoint_interval_ms

    # What people say: declarations and commands, each at its place

    def _take_up(self, *, new: bool) -> None:
        """Everything whose place is here, in order. `new`: commands, too, that no former run has taken up."""
        while self._declare() or self._take_command(new=new):
            pass

    def _declare(self) -> bool:
        """Lets the next declaration act, if its place is reached."""
        declared = self._history.due(self._offset, self._commands_offset)
        if declared is None:
            return False
        is_new, before = self._history.enter(declared)
        self._enforce(declared)
        if is_new:
            self._pending.decisions.append(decision_of(declared, before))
            self._pending.must_commit |= bool(self._state.checkpoints)
        return True

    def _enforce(self, declared: Declared) -> None:
        declaration = declared.declaration
        self._reasker.declare(asks=declaration.asks, searches=declaration.searches)
        self._loop.declare(declaration)

    def _take_command(self, *, new: bool) -> bool:
        """The next command, if a former run has taken it up here, or if it is new and everything published is passed."""
        records = self._log.read(self._commands, self._commands_offset, max_records=1)
        if not records:
            return False
        record = records[0]
        again = record.offset in self._taken_up
        if self._offset < self._taken_up.get(record.offset, self._state.taken) or not (again or new):
            return False
        if record.kind == codec.REDACTED:
            self._commands_offset = record.offset + 1
            return True
        command = codec.decode(record, Command)
        self._registry, self._registry_version = load_registry(self._options, self._log)
        output = self._loop.take_up(command, self._registry, self._offset)
        if again:
            output.decisions.clear()  # they are in their topic
        self._pending.extend(output)
        self._taken_up.setdefault(record.offset, self._offset)
        self._keep_alias = True
        self._commands_offset = record.offset + 1
        return True

    # Checkpoints

    def _restore(self) -> tuple[int, int]:
        """Goes back to the newest whole checkpoint: its offsets. Without any: a fresh start from the base."""
        broken: list[str] = []
        for checkpoint in reversed(self._state.checkpoints):
            declaration = self._history.at(checkpoint) or self._declaration
            self._enforce(Declared(checkpoint.declaration, checkpoint.offset, checkpoint.commands, declaration))
            try:
                self._store.verify(checkpoint.digest)
                self._loop.restore(self._store.path(checkpoint.digest))
            except CorruptDataError as error:
                broken.append(str(error))
                continue
            return self._resume(checkpoint, broken)
        if broken:
            raise CorruptDataError(
                f"no checkpoint of {self._options.id.name} is whole: {'; '.join(broken)}",
                next_step=f"run `headrace reset StreamFinetuner/{self._options.id.name} --from model`",
            )
        self._loop.start(self._registry)
        place = self._log.offset(self.name, self._examples), self._log.offset(self.name, self._commands)
        self._history.resume(None, self._declaration, place)
        return place

    def _resume(self, checkpoint: Checkpoint, broken: list[str]) -> tuple[int, int]:
        """A declaration that is new acts behind everything that is published."""
        state = self._state
        if broken:
            self._reporter.say(Condition("Learning", "True", "RestoredOlderCheckpoint", "; ".join(broken)), now=True)
            kept = state.checkpoints[: state.checkpoints.index(checkpoint) + 1]
            self._state = msgspec.structs.replace(state, checkpoints=kept)
        commands = max([checkpoint.commands, *(command + 1 for command in state.taken_up)])
        self._history.resume(checkpoint, self._declaration, (max(checkpoint.offset, state.taken), commands))
        return checkpoint.offset, checkpoint.commands

    def _checkpoint(self) -> None:
        digest = self._store.put(self._loop.save)
        scored = self._loop.learning.scored_before(self._offset)
        checkpoint = Checkpoint(
            digest, self._offset, self._commands_offset, self._loop.weights_sha256(), scored,
            self._loop.learning.reasked_at(), self._history.in_force, self._loop.judging.needed(),
        )  # fmt: skip
        checkpoints = [*self._state.checkpoints, checkpoint][-CHECKPOINTS_KEPT:]
        taken_up = {command: at for command, at in self._taken_up.items() if command >= checkpoints[0].commands}
        state = TrainState(
            checkpoints, max(self._state.published, scored), max(self._state.taken, self._offset), taken_up,
            self._history.kept(checkpoints[0].declaration), self._model.begun,
        )  # fmt: skip
        obsolete = self._reasker.obsolete(checkpoints[0].scored, {at for one in checkpoints for at in one.reasked})
        failpoint("train.commit.before")
        self._commit(state, obsolete)
        failpoint("train.commit.after")
        self._state, self._taken_up = state, dict(taken_up)
        self._reasker.forget(obsolete)
        self._pending = LoopOutput()
        self._keep_alias = False
        self._checkpointed_at = self._clock.monotonic()
        self._collect_garbage()

    def _commit(self, state: TrainState, obsolete: list[str]) -> None:
        """One transaction. Where a person moved the alias meanwhile it stays theirs: their command is taken up next."""
        while True:
            try:
                self._log.commit(self._as_commit(state, obsolete))
            except ConflictError:
                self._registry, self._registry_version = load_registry(self._options, self._log)
                self._keep_alias = True
                continue
            self._registry, self._registry_version = load_registry(self._options, self._log)
            return

    def _as_commit(self, state: TrainState, obsolete: list[str]) -> Commit:
        """`obsolete`: keys to delete."""
        output = OutputCommit(self._options, self._pending, self._state, self._clock)
        key, value, expected = registry.save(
            output.registry(self._registry, keep_alias=self._keep_alias),
            self._options.id, self._registry_version,
        )  # fmt: skip
        oldest = state.checkpoints[0]
        return Commit(
            appends=output.appends(),
            offsets=[
                GroupOffset(self.name, self._examples, self._offset, hold=oldest.offset),
                GroupOffset(self.name, self._commands, self._commands_offset, hold=oldest.commands),
            ],
            state={
                **{StateKey(self.name, one): None for one in obsolete},
                StateKey(self.name, "state"): state.encode(),
                key: value,
            },
            expect={key: expected},
            lease=self._lease,
        )

    def _collect_garbage(self) -> None:
        self._store.collect({checkpoint.digest for checkpoint in self._state.checkpoints})
        needed = {digest for checkpoint in self._state.checkpoints for digest in checkpoint.needed}
        self._versions.collect({version.digest for version in self._registry.versions} | needed)

    def _report(self, records: list[Record]) -> None:
        now = self._clock.monotonic()
        if records and self._started_at is None:
            self._started_at = now
        learned = self._loop.learning.examples - self._started_examples
        rate = learned / max(now - (self._started_at or now), 1.0)
        condition = (
            Condition("Learning", "True", "Running")
            if records
            else Condition("Learning", "True", "Waiting", "waiting for new examples")
        )
        self._reporter.say(
            condition,
            self._model.condition(self._options.id.name),
            progress={"offset": self._offset, "examplesPerSecond": round(rate, 1), **self._loop.progress()},
        )
