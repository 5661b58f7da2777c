"""The model that a trainer has: which base it began from, and what it keeps of the options it began with."""

from dataclasses import dataclass, replace
from pathlib import Path

from headrace.foundation.clock import Clock
from headrace.foundation.errors import CorruptDataError
from headrace.foundation.failpoints import failpoint
from headrace.learning.learner import LearnerOptions
from headrace.learning.method import resolved
from headrace.log.topic_log import Commit, Lease, TopicLog
from headrace.models.checkpoint_check import inspect_checkpoint
from headrace.models.directory_store import DirectoryStore
from headrace.promotion import registry
from headrace.promotion.registry import Registry
from headrace.stages.stage import Condition
from headrace.stages.train.base_folder import declared_digest, keep_base
from headrace.stages.train.declaration import Declaration
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.train_state import ModelBegun


@dataclass(frozen=True, slots=True)
class Model:
    """What it began with, and what is declared now."""

    begun: ModelBegun
    base: Path
    """The base model folder that it reads: the kept copy."""
    base_version: str
    declared: ModelBegun
    base_is_there: bool = True
    """Whether there is a folder where the declaration says."""

    @staticmethod
    def of(options: TrainOptions, found: Registry, versions: DirectoryStore, begun: ModelBegun | None) -> "Model":
        """`begun`: what a former run recorded; None: it begins now, as declared."""
        kept = found.version(found.base).digest
        base = versions.path(kept)
        wanted = resolved(options.learning.learner, inspect_checkpoint(base).parameters)
        there = declared_digest(options.learning.learner.base)
        declared = ModelBegun.of(there or kept, wanted)
        return Model(begun or declared, base, found.base, declared, there is not None)

    def learner(self, declared: LearnerOptions) -> LearnerOptions:
        """What is declared, on this model."""
        begun = self.begun
        return replace(
            declared, base=self.base, method=begun.method, optimizer=begun.optimizer, seed=begun.seed,
            lora_rank=begun.lora_rank,
        )  # fmt: skip

    def declaration(self, options: TrainOptions) -> Declaration:
        """What is declared now and can act without a reset."""
        return Declaration(
            replace(options.learning, learner=self.learner(options.learning.learner)),
            options.gate,
            options.metric,
            options.keep_versions,
            asks=options.teacher is not None and options.teacher.teacher is not None,
            searches=options.knowledge is not None,
            base_version=self.base_version,
        )

    def condition(self, finetuner: str) -> Condition:
        """Whether everything that is declared is in force."""
        waiting = self.begun.pending(self.declared)
        if waiting:
            return Condition(
                "DeclarationInForce", "False", "ResetNeeded",
                f"the model keeps its former values; changes that wait for a reset: {', '.join(waiting)}. "
                f"Run `headrace reset StreamFinetuner/{finetuner} --from model`.",
            )  # fmt: skip
        if not self.base_is_there:
            return Condition(
                "DeclarationInForce", "Unknown", "BaseModelMissing",
                "the folder at the BaseModel's path is missing; learning uses the kept copy",
            )  # fmt: skip
        return Condition("DeclarationInForce", "True", "InForce")


def open_registry(
    options: TrainOptions, log: TopicLog, versions: DirectoryStore, lease: Lease, clock: Clock, *, begins: bool
) -> tuple[Registry, int]:
    """The registry and its state's version. A model that `begins` has the declared base: v0 at first, a version of its own after
    a reset with another base.
    """
    found = registry.load(log, options.id)
    base = options.learning.learner.base
    if found and not (begins and declared_digest(base) not in (None, found[0].version(found[0].base).digest)):
        return found
    digest = keep_base(versions, base)
    now = clock.now_ms()
    made = found[0].with_base(digest, digest, now) if found else Registry.of_base(digest, digest, now)
    key, value, expected = registry.save(made, options.id, found[1] if found else 0)
    failpoint("train.registry.before")
    log.commit(Commit(state={key: value}, expect={key: expected}, lease=lease))
    failpoint("train.registry.after")
    return load_registry(options, log)


def load_registry(options: TrainOptions, log: TopicLog) -> tuple[Registry, int]:
    """The registry and its state's version. CorruptDataError where it is gone."""
    found = registry.load(log, options.id)
    if found is None:
        raise CorruptDataError(f"the registry of {options.id.name} is gone")
    return found
