"""Joins learning and promotion: one finetuner's loop, saved and restored as a whole (SEMANTICS §5, §6).

It touches neither the log nor a clock for a decision; the stage commits what it gives.
"""

from pathlib import Path

import msgspec

from headrace.events.control import Control
from headrace.events.decision import Command
from headrace.events.example import Example
from headrace.foundation.clock import Clock
from headrace.foundation.errors import CorruptDataError
from headrace.learning.learner import LEARNER, Learner
from headrace.learning.loop import LearningLoop, LearningState
from headrace.learning.output import LearningOutput
from headrace.learning.reask import Reasker
from headrace.log.record import Record
from headrace.models.directory_store import DirectoryStore
from headrace.models.prompt_renderer import PromptRenderer
from headrace.promotion.registry import Registry
from headrace.stages.train.declaration import Declaration
from headrace.stages.train.judging import Judging, JudgingState
from headrace.stages.train.loop_output import LoopOutput

POLICY = "policy.msgpack"


class FinetuneLoop:
    """One finetuner's learning and judging, stepped by examples."""

    def __init__(
        self,
        declaration: Declaration,
        learner: Learner,
        renderer: PromptRenderer,
        topic: str,
        versions: DirectoryStore,
        reasker: Reasker,
        clock: Clock,
    ) -> None:
        """`topic`: where the examples lie."""
        self._learner = learner
        self.judging = Judging(declaration.gate, declaration.metric, learner, versions, clock)
        self.learning = LearningLoop(declaration.learning, learner, renderer, topic, reasker, self.judging)
        self.judging.compare_on(lambda: self.learning.anchors, self.learning.scoring)

    def declare(self, declaration: Declaration) -> None:
        """Takes over what is declared, from the next example on."""
        other_metric = self.judging.declare(declaration.gate, declaration.metric)
        self.learning.declare(declaration.learning, other_metric=other_metric)

    def progress(self) -> dict[str, int | float | str]:
        """Figures for people."""
        return {**self.learning.progress(), **self.judging.progress()}

    def weights_sha256(self) -> str:
        return self._learner.weights_sha256(LEARNER)

    def start(self, registry: Registry) -> None:
        """A fresh start from the base, against whatever is served."""
        self.judging.start(registry)

    def save(self, path: Path) -> None:
        """Writes everything that the next step depends on, but for what is declared."""
        self._learner.save(path / "learner")
        learned, judged = self.learning.state(), self.judging.state()
        policy = {**msgspec.structs.asdict(learned), **msgspec.structs.asdict(judged)}
        (path / POLICY).write_bytes(msgspec.msgpack.encode(policy))

    def restore(self, path: Path) -> None:
        """Reads what `save` wrote. CorruptDataError where it is not whole."""
        try:
            data = (path / POLICY).read_bytes()
            learned = msgspec.msgpack.decode(data, type=LearningState)
            judged = msgspec.msgpack.decode(data, type=JudgingState)
        except (OSError, msgspec.MsgspecError) as error:
            raise CorruptDataError(f"{path / POLICY} is not whole: {error}") from error
        self._learner.restore(path / "learner")
        self.learning.restore(learned)
        self.judging.restore(judged)

    def take(self, record: Record, example: Example) -> LoopOutput:
        """The next example, in the order of its topic."""
        return self._judged(self.learning.take(record, example))

    def end_of_input(self) -> LoopOutput:
        """Learns the partial round, so that everything taken is learned and scored."""
        return self._judged(self.learning.end_of_input())

    def documents_changed(self, offset: int, sign: Control) -> LoopOutput:
        """Reasks or drops what was learned from other versions of the documents."""
        return self._judged(self.learning.documents_changed(offset, sign))

    def take_up(self, command: Command, registry: Registry, offset: int) -> LoopOutput:
        """A person's promotion or roll-back, whose alias has moved already."""
        return LoopOutput(decisions=self.judging.take_up(command, registry, offset), must_commit=True)

    def _judged(self, learned: LearningOutput) -> LoopOutput:
        output = LoopOutput(moves=self.judging.moves())
        output.extend(learned)
        return output
