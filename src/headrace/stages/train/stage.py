"""train: `finetuner.examples` → weights, scores, decisions, versions.

A checkpoint directory is written first, content-addressed and fsynced; then one log transaction commits its digest, the input
offset, scores, decisions, dead letters and the registry. A directory that no commit names is garbage. After a restart the
loop goes on from the newest checkpoint that is whole: where that is not the last one, what it repeats is already published
and is not published again.
"""

import shutil
from pathlib import Path

import msgspec

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import DEAD_RETENTION_MS, dead_record
from headrace.events.decision import Command, Decision
from headrace.events.example import Example
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import ConflictError, CorruptDataError, UnavailableError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.learning.learner import Learner
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.models.embedder import Embedder
from headrace.models.renderer import open_renderer
from headrace.promotion import registry
from headrace.promotion.registry import Registry
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.train import version_store
from headrace.stages.train.finetune_loop import FinetuneLoop
from headrace.stages.train.loop_output import LoopOutput, moved
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.reask import Reasker

MAX_EXAMPLES = 64
CHECKPOINTS_KEPT = 2


class Checkpoint(msgspec.Struct, frozen=True):
    """A committed checkpoint."""

    digest: str
    offset: int
    """The next example that it has not read."""
    commands: int
    """The next command that it has not taken up."""
    weights_sha256: str
    scored: int = 0
    """Every example before it is scored: nothing is decided there any more."""
    renewals: list[int] = []
    """Signs at which examples were asked again that its replay or its anchors hold."""


class TrainState(msgspec.Struct, frozen=True):
    """What the trainer keeps in the log."""

    checkpoints: list[Checkpoint] = []
    """Oldest first."""
    published: int = 0
    """Scores and decisions of examples before this offset are in their topics."""
    taken: int = 0
    """Dead letters of examples before this offset are in their topic."""
    taken_up: dict[int, int] = {}
    """By a command's offset: the example before which it was taken up. A run from an older checkpoint takes it up there again."""

    @property
    def offset(self) -> int:
        return self.checkpoints[-1].offset if self.checkpoints else 0

    @property
    def weights_sha256(self) -> str | None:
        return self.checkpoints[-1].weights_sha256 if self.checkpoints else None


def read_train_state(log: TopicLog, namespace: str, finetuner: str) -> TrainState | None:
    """What the trainer last committed; None before its first commit."""
    entry = log.state(f"train/{namespace}.{finetuner}").get("state")
    return msgspec.json.decode(entry.value, type=TrainState) if entry else None


def open_learner(options: TrainOptions) -> Learner:
    """The learner of the installed technology."""
    from headrace.learning.torch import open_learner as open_torch_learner

    return open_torch_learner(options.learner)


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
        learner: Learner | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        """`learner`, `embedder`: handed in by tests; else opened as the options say."""
        namespace, finetuner = options.namespace, options.finetuner
        self.name = f"train/{namespace}.{finetuner}"
        self._options, self._log, self._clock, self._state_dir = options, log, clock, state
        self._examples = topics.examples(namespace, finetuner)
        self._scores = topics.scores(namespace, finetuner)
        self._decisions = topics.decisions(namespace, finetuner)
        self._commands = topics.commands(namespace, finetuner)
        self._dead = topics.stage_dead(namespace, finetuner, "train")
        log.ensure_exists(self._examples)
        for topic in (self._scores, self._decisions, self._commands):
            log.ensure_topic(TopicSpec(topic))
        log.ensure_topic(TopicSpec(self._dead, retention_ms=DEAD_RETENTION_MS))
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, f"StreamFinetuner/{namespace}/{finetuner}", "train", clock)
        self._reporter.say(Condition("Learning", "False", "Starting", "loading the model"), now=True)
        self._store = version_store.checkpoints(state, namespace, finetuner)
        self._versions = version_store.versions(state, namespace, finetuner)
        self._state = read_train_state(log, namespace, finetuner) or TrainState()
        self._registry, self._registry_version = self._first_registry()
        self._reasker = Reasker(options, log, self.name, self._lease, state, clock, embedder=embedder)
        try:
            self._loop = FinetuneLoop(
                options, learner or open_learner(options), open_renderer(options.learner.base), self._versions, self._reasker, clock
            )  # fmt: skip
            self._offset, self._commands_offset = self._restore()
        except BaseException:
            self._reasker.close()
            raise
        self._pending = LoopOutput()
        self._keep_alias = False
        self._taken_up = dict(self._state.taken_up)
        self._checkpointed_at = clock.monotonic()
        self._started_at: float | None = None
        self._started_examples = self._loop.examples

    def step(self) -> bool:
        records = self._log.read(self._examples, self._offset, max_records=MAX_EXAMPLES)
        for record in records:
            if self._loop.at_round_boundary or self._offset in self._taken_up.values():
                self._take_commands()
            self._feed(record)
            self._offset = record.offset + 1
            if self._pending.must_commit:
                self._checkpoint()
        if not records:
            self._take_commands()
        if self._due():
            self._checkpoint()
        self._report(records)
        return bool(records)

    def close(self) -> None:
        self._reasker.close()

    def _feed(self, record: Record) -> None:
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
        committed = self._state.checkpoints[-1].offset if self._state.checkpoints else -1
        if self._pending.must_commit:
            return True
        if self._offset == committed:
            return False
        elapsed_ms = (self._clock.monotonic() - self._checkpointed_at) * 1000
        return elapsed_ms >= self._options.checkpoint_interval_ms

    def _take_commands(self) -> None:
        for record in self._log.read(self._commands, self._commands_offset):
            again = record.offset in self._taken_up
            if again and self._offset < self._taken_up[record.offset]:
                return
            command = codec.decode(record, Command)
            self._registry, self._registry_version = self._load_registry()
            output = self._loop.take_up(command, self._registry, self._offset)
            if again:
                output.decisions.clear()  # they are in their topic
            self._pending.extend(output)
            self._taken_up.setdefault(record.offset, self._offset)
            self._keep_alias = True
            self._commands_offset = record.offset + 1

    def _first_registry(self) -> tuple[Registry, int]:
        """The registry, with the base as v0 where there is none yet."""
        found = registry.load(self._log, self._options.namespace, self._options.finetuner)
        if found:
            return found
        base = self._options.learner.base
        digest = self._versions.put(lambda path: _copy_checkpoint(base, path))
        first = Registry.of_base(digest, digest, self._clock.now_ms())
        key, value, expected = registry.save(first, self._options.namespace, self._options.finetuner, 0)
        failpoint("train.registry.before")
        self._log.commit(Commit(state={key: value}, expect={key: expected}, lease=self._lease))
        failpoint("train.registry.after")
        return self._load_registry()

    def _load_registry(self) -> tuple[Registry, int]:
        found = registry.load(self._log, self._options.namespace, self._options.finetuner)
        if found is None:
            raise CorruptDataError(f"the registry of {self._options.finetuner} is gone")
        return found

    def _restore(self) -> tuple[int, int]:
        """Goes back to the newest whole checkpoint: its offsets. Without any: a fresh start from the base."""
        broken: list[str] = []
        for checkpoint in reversed(self._state.checkpoints):
            try:
                self._store.verify(checkpoint.digest)
                self._loop.restore(self._store.path(checkpoint.digest))
            except CorruptDataError as error:
                broken.append(str(error))
                continue
            if broken:
                self._reporter.say(
                    Condition("Learning", "True", "RestoredOlderCheckpoint", "; ".join(broken)), now=True
                )
                self._state = msgspec.structs.replace(
                    self._state, checkpoints=self._state.checkpoints[: self._state.checkpoints.index(checkpoint) + 1]
                )
            return checkpoint.offset, checkpoint.commands
        if broken:
            raise CorruptDataError(
                f"no checkpoint of {self._options.finetuner} is whole: {'; '.join(broken)}",
                next_step="give the finetuner a new name: it learns anew from the start",
            )
        self._loop.start(self._registry)
        return 0, 0

    def _checkpoint(self) -> None:
        digest = self._store.put(self._loop.save)
        scored = self._loop.scored_before(self._offset)
        checkpoint = Checkpoint(
            digest, self._offset, self._commands_offset, self._loop.weights_sha256(), scored, self._loop.renewals()
        )
        published = max(self._state.published, scored)
        checkpoints = [*self._state.checkpoints, checkpoint][-CHECKPOINTS_KEPT:]
        taken_up = {command: at for command, at in self._taken_up.items() if command >= checkpoints[0].commands}
        state = TrainState(checkpoints, published, max(self._state.taken, self._offset), taken_up)
        obsolete = self._reasker.obsolete(
            checkpoints[0].scored, {offset for one in checkpoints for offset in one.renewals}
        )
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
                self._registry, self._registry_version = self._load_registry()
                self._keep_alias = True
                continue
            self._registry, self._registry_version = self._load_registry()
            return

    def _as_commit(self, state: TrainState, obsolete: list[str]) -> Commit:
        """What was published before, by a run from which only an older checkpoint is whole, is left out. `obsolete`: keys to delete."""
        output, published = self._pending, self._state.published
        ends = [end for offset, end in output.ends if offset >= published]
        scores = [record for offset, record in output.scores if offset >= published]
        decisions = [self._decision(d) for d in output.decisions if d.manual or self._is_new(d)]
        appends = [
            Append(self._scores, [*scores, *ends]),
            Append(self._decisions, [*decisions, *ends]),
            Append(
                self._dead,
                [self._dead_letter(one) for one in output.dead if one.source_offset >= self._state.taken],
            ),
        ]
        moves = [move for move in output.moves if move.offset >= published]
        changed = moved(self._registry, moves, keep_alias=self._keep_alias)
        changed, _ = changed.prune(self._options.promotion.keep_versions)
        key, value, expected = registry.save(
            changed, self._options.namespace, self._options.finetuner, self._registry_version
        )
        return Commit(
            appends=[append for append in appends if append.records],
            offsets=[
                GroupOffset(self.name, self._examples, self._offset, hold=state.checkpoints[0].offset),
                GroupOffset(self.name, self._commands, self._commands_offset, hold=state.checkpoints[0].commands),
            ],
            state={
                **{StateKey(self.name, one): None for one in obsolete},
                StateKey(self.name, "state"): msgspec.json.encode(state),
                key: value,
            },
            expect={key: expected},
            lease=self._lease,
        )

    def _is_new(self, decision: Decision) -> bool:
        """Whether it is not in its topic yet. Those of a sign are committed with it, though examples before it may wait for their round."""
        state = self._state
        return decision.last_offset >= (state.taken if decision.last_offset in self._pending.signs else state.published)

    def _decision(self, decision: Decision) -> NewRecord:
        record_id = derive_id(self.name, decision.kind, decision.subject, decision.last_offset)
        return NewRecord(
            record_id, codec.kind_of(decision), codec.encode(decision), self._clock.now_ms(), key=decision.subject
        )

    def _dead_letter(self, letter: DeadLetter) -> NewRecord:
        return dead_record(derive_id(self._examples, letter.source_offset, "train"), letter, self._clock.now_ms())

    def _collect_garbage(self) -> None:
        self._store.collect({checkpoint.digest for checkpoint in self._state.checkpoints})
        self._versions.collect({version.digest for version in self._registry.versions})

    def _report(self, records: list[Record]) -> None:
        now = self._clock.monotonic()
        if records and self._started_at is None:
            self._started_at = now
        rate = (self._loop.examples - self._started_examples) / max(now - (self._started_at or now), 1.0)
        condition = (
            Condition("Learning", "True", "Running")
            if records
            else Condition("Learning", "True", "Waiting", "no new example")
        )
        self._reporter.say(
            condition,
            progress={"offset": self._offset, "examplesPerSecond": round(rate, 1), **self._loop.progress()},
        )


def _copy_checkpoint(base: Path, target: Path) -> None:
    if not base.is_dir():
        raise UnavailableError(
            f"the base checkpoint {base} is not there", next_step="put it back, or change the BaseModel's path"
        )
    shutil.copytree(base, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "*.bin", "*.pt", "*.py"))
