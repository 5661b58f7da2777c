"""The port to the numerical side of learning: weights that score and learn token sequences.

A learner holds several models by slot. `learner` is the one that learns; `served`, `previous`, `candidate`, `base` are frozen.
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
    """auto: Muon for matrices with AdamW for the rest where method is full, AdamW for LoRA"""
    learning_rate: float = 5e-5
    warmup_steps: int = 20
    batch_size: int = 8
    """Sequences per optimiser step's micro-batch."""
    gradient_accumulation_steps: int = 1
    epochs: int = 1
    mixed_precision: bool = False
    """bf16 autocast"""
    threads: int = 1
    seed: int = 0
    average_decay: float = 0.95
    """Of the exponential average of the weights, per step; a candidate is cut from it."""
    lora_rank: int = 16
    device: str = "auto"
    """auto: the first CUDA device where there is one, else the CPU; or a device as PyTorch names it"""


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """One model on one sequence under teacher forcing."""

    exact: bool
    """The argmax equals the answer at every answer position, end token included."""
    loss: float
    """Mean negative log-likelihood per answer token, nats."""
    predicted_ids: tuple[int, ...]
    """The argmax at every answer position: what greedy decoding gives as long as it agrees with the answer."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round did."""

    loss: float
    """Mean over the answer tokens of the round, nats, before its last step."""
    steps: int
    answer_tokens: int
    tokens: int
    learning_rate: float


class Learner(Protocol):
    """One thread; bit-for-bit repeatable on one CPU type and thread count. Same calls after `restore` give the same weights."""

    def score(self, slot: str, sequences: Sequence[TokenSequence]) -> list[SequenceScore]:
        """Scores under teacher forcing, in order. The result of a sequence may depend on what it is packed with by rounding alone."""
        ...

    def learn(self, epochs: Sequence[Sequence[TokenSequence]]) -> RoundReport:
        """Learns one round: per epoch the fresh sequences plus that epoch's replay.

        Each epoch is one optimiser step over all its sequences, accumulated over micro-batches, loss normalised by answer tokens
        over the epoch's sequences. So 1 × 8 and 8 × 1 accumulation give the same trajectory.
        """
        ...

    def declare(self, options: LearnerOptions) -> None:
        """Takes over what is declared now, from the next call on. Base, method, optimizer, seed and device stay those that it was
        opened with: only a model that begins again can take others.
        """
        ...

    def rewarm(self) -> None:
        """Starts the learning rate's warm-up again (drift)."""
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
        """Loads a version's directory into a slot; into `learner`: the weights alone, with a fresh optimiser and average (roll-back)."""
        ...

    def export(self, slot: str, path: Path) -> None:
        """Writes a slot as a complete weights folder in Hugging Face's layout: merged safetensors, config, tokenizer, chat template."""
        ...

    def save(self, path: Path) -> None:
        """Writes everything that the next step depends on, with no frozen slot that `versions` already names on disk."""
        ...

    def restore(self, path: Path) -> None:
        """Reads what `save` wrote. CorruptDataError where a file is not what was written."""
        ...

    def weights_sha256(self, slot: str) -> str:
        """Digest over names, shapes, types and bytes of the slot's tensors, in order of name."""
        ...
