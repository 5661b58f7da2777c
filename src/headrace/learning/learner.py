"""The port to the numerical side of learning: weights that score and learn token sequences.

A learner holds several models by slot. `learner` is trained; `served`, `previous`, `candidate`, `base` are frozen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from headrace.models.sequence import TokenSequence

LEARNER = "learner"


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """The trainer block and `spec.learning`, resolved."""

    base: Path
    """The base model's folder in Hugging Face's layout (safetensors)."""
    method: Literal["auto", "full", "lora"] = "auto"
    """auto: full below 50 M parameters, LoRA above"""
    optimizer: Literal["auto", "adamw", "muon"] = "auto"
    """auto: Muon for matrices and AdamW for the rest if method is full, AdamW for LoRA"""
    learning_rate: float = 5e-5
    warmup_steps: int = 20
    batch_size: int = 8
    """Sequences per micro-batch of an optimiser step."""
    gradient_accumulation_steps: int = 1
    epochs: int = 1
    mixed_precision: bool = False
    """bf16 autocast"""
    threads: int = 1
    seed: int = 0
    average_decay: float = 0.95
    """Decay of the exponential average of the weights, per step; candidates are cut from it."""
    lora_rank: int = 16
    device: str = "auto"
    """auto: the first CUDA device if there is one, otherwise the CPU; or a device in PyTorch's notation"""


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """One model's result on one sequence under teacher forcing."""

    exact: bool
    """Whether the argmax equals the answer at every answer position, end token included."""
    loss: float
    """Mean negative log-likelihood per answer token, nats."""
    predicted_ids: tuple[int, ...]
    """The argmax at every answer position: equals greedy decoding as long as it agrees with the answer."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """The result of a round."""

    loss: float
    """Mean over the round's answer tokens, nats, before its last step."""
    steps: int
    answer_tokens: int
    tokens: int
    learning_rate: float


class Learner(Protocol):
    """Single-threaded; bit-for-bit repeatable on one CPU type and thread count. The same calls after `restore` give the same weights."""

    def score(self, slot: str, sequences: Sequence[TokenSequence]) -> list[SequenceScore]:
        """Scores under teacher forcing, in order. How a sequence is packed may change its result only by rounding."""
        ...

    def learn(self, epochs: Sequence[Sequence[TokenSequence]]) -> RoundReport:
        """Learns one round: per epoch the fresh sequences plus that epoch's replay.

        Each epoch is one optimiser step over all its sequences, accumulated over micro-batches, loss normalised by answer tokens
        over the epoch's sequences. So 1 × 8 and 8 × 1 accumulation give the same trajectory.
        """
        ...

    def declare(self, options: LearnerOptions) -> None:
        """Applies the declared options from the next call on. Base, method, optimizer, seed and device stay as opened: changing them requires
        a new model.
        """
        ...

    def rewarm(self) -> None:
        """Restarts the learning rate's warm-up (drift)."""
        ...

    def freeze(self, slot: str) -> None:
        """Copies the learner's exponential average into a slot."""
        ...

    def move(self, source: str, target: str) -> None:
        """Renames a slot (`candidate` → `served`); the target's weights are dropped."""
        ...

    def drop(self, slot: str) -> None: ...

    def slots(self) -> tuple[str, ...]: ...

    def load(self, slot: str, version: Path) -> None:
        """Loads a version's directory into a slot; into `learner`: only the weights, with a fresh optimiser and average (roll-back)."""
        ...

    def export(self, slot: str, path: Path) -> None:
        """Writes a slot as a complete weights folder in Hugging Face's layout: merged safetensors, config, tokenizer, chat template."""
        ...

    def save(self, path: Path) -> None:
        """Writes everything the next step depends on, except frozen slots that `versions` already have on disk."""
        ...

    def restore(self, path: Path) -> None:
        """Reads what `save` wrote. CorruptDataError if a file was changed since."""
        ...

    def weights_sha256(self, slot: str) -> str:
        """Digest over names, shapes, types and bytes of the slot's tensors, in order of name."""
        ...
