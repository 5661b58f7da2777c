"""What the trainer keeps in the log beside its checkpoints."""

from pathlib import Path
from typing import Any

import msgspec

from headrace.foundation.resource_id import ResourceId
from headrace.learning.learner import LearnerOptions
from headrace.log.topic_log import TopicLog
from headrace.stages.train.declaration import Declared


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
    reasked: list[int] = msgspec.field(default_factory=list[int], name="renewals")
    """Signs at which examples were reasked that its replay or its anchors hold."""
    declaration: int = 0
    """The number of the declaration in force; 0: none was recorded yet."""
    needed: list[str] = []
    """Directories of the versions that it loads."""


class ModelBegun(msgspec.Struct, frozen=True):
    """What a model keeps from its beginning: other values need a reset of the model."""

    base: str
    """Digest of the base model folder."""
    method: str
    optimizer: str
    seed: int
    lora_rank: int

    @staticmethod
    def of(base: str, options: LearnerOptions) -> "ModelBegun":
        """`options` without `auto`."""
        return ModelBegun(base, options.method, options.optimizer, options.seed, options.lora_rank)

    def pending(self, declared: "ModelBegun") -> list[str]:
        """What is declared and waits for a reset: `method full → lora`."""
        names = ("method", "optimizer", "seed", "lora_rank")
        differing = [name for name in names if getattr(self, name) != getattr(declared, name)]
        base = ["another base model"] if self.base != declared.base else []
        return [*base, *(f"{name} {getattr(self, name)} → {getattr(declared, name)}" for name in differing)]


class TrainState(msgspec.Struct, frozen=True):
    """What is committed with every checkpoint."""

    checkpoints: list[Checkpoint] = []
    """Oldest first."""
    published: int = 0
    """Scores and decisions of examples before this offset are in their topics."""
    taken: int = 0
    """Dead letters of examples before this offset are in their topic."""
    taken_up: dict[int, int] = {}
    """By a command's offset: the example before which it was taken up. A run from an older checkpoint takes it up there again."""
    declared: list[Declared] = []
    """Oldest first: those that the checkpoints need."""
    model: ModelBegun | None = None

    @property
    def offset(self) -> int:
        return self.checkpoints[-1].offset if self.checkpoints else 0

    @property
    def weights_sha256(self) -> str | None:
        return self.checkpoints[-1].weights_sha256 if self.checkpoints else None

    def encode(self) -> bytes:
        return msgspec.json.encode(self, enc_hook=str)


def decode_train_state(data: bytes) -> TrainState:
    """What `encode` wrote."""
    return msgspec.json.decode(data, type=TrainState, dec_hook=_path)


def read_train_state(log: TopicLog, finetuner: ResourceId) -> TrainState | None:
    """What the trainer last committed; None before its first commit."""
    entry = log.state(f"train/{finetuner.path_name}").get("state")
    return decode_train_state(entry.value) if entry else None


def _path(kind: type[Any], value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"no {kind} lies in a trainer's state")
