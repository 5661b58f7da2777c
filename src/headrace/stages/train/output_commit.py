"""What a loop's output puts into the trainer's topics and the registry: each thing once, also when examples are learned again."""

from dataclasses import dataclass

import msgspec

from headrace.events import codec, topics
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import dead_record
from headrace.events.decision import Decision
from headrace.foundation.clock import Clock
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append
from headrace.promotion.registry import Registry
from headrace.stages.train.loop_output import LoopOutput, moved
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.train_state import TrainState


@dataclass(frozen=True, slots=True)
class OutputCommit:
    """`before`: what was committed last, by a run from which perhaps only an older checkpoint is whole."""

    options: TrainOptions
    output: LoopOutput
    before: TrainState
    clock: Clock

    def appends(self) -> list[Append]:
        """Records that are not in their topics yet."""
        finetuner = self.options.id
        published = self.before.published
        ends = [end for offset, end in self.output.ends if offset >= published]
        scores = [record for offset, record in self.output.scores if offset >= published]
        decisions = [self._decision(one) for one in self.output.decisions if one.manual or self._is_new(one)]
        dead = [self._dead_letter(one) for one in self.output.dead if one.source_offset >= self.before.taken]
        appends = [
            Append(topics.scores(finetuner), [*scores, *ends]),
            Append(topics.decisions(finetuner), [*decisions, *ends]),
            Append(topics.stage_dead(finetuner, "train"), dead),
        ]
        return [append for append in appends if append.records]

    def registry(self, found: Registry, *, keep_alias: bool) -> Registry:
        """The registry after the new moves, with the versions that are to be kept."""
        moves = [move for move in self.output.moves if move.offset >= self.before.published]
        return moved(found, moves, keep_alias=keep_alias).prune(self.options.keep_versions)[0]

    def _is_new(self, decision: Decision) -> bool:
        """Those of a sign are committed with it, though examples before it may wait for their round."""
        of_sign = decision.last_offset in self.output.signs
        return decision.last_offset >= (self.before.taken if of_sign else self.before.published)

    def _decision(self, decision: Decision) -> NewRecord:
        owner = f"train/{self.options.id.path_name}"
        record_id = derive_id(owner, decision.kind, decision.subject, decision.last_offset)
        return NewRecord(
            record_id, codec.kind_of(decision), codec.encode(decision), self.clock.now_ms(), key=decision.subject
        )

    def _dead_letter(self, letter: DeadLetter) -> NewRecord:
        examples = topics.examples(self.options.id)
        mine = msgspec.structs.replace(letter, reader=f"train/{self.options.id.path_name}")
        return dead_record(derive_id(examples, letter.source_offset, "train"), mine, self.clock.now_ms())
