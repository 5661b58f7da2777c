"""The port to what computes: an engine loads checkpoints and gives next-token logits for sequences that come and go.

Sampling, stop sequences, text and log-probabilities are the same for every engine and live in `version_batch.py`;
an engine knows token ids alone. An engine passes `headrace.testing.engine_serving_conformance`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from numpy import float32
from numpy.typing import NDArray

from headrace.serving.checkpoint import CheckpointConfig


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine can do, as data: checked before a checkpoint is given to it."""

    streaming: bool = True
    """Tokens come one by one."""
    logprobs: bool = True
    sampling: bool = True
    adapters: bool = False
    """Loads LoRA adapters as they are; otherwise versions are merged first."""
    joining: bool = True
    """Sequences join a running batch between steps."""
    architectures: frozenset[str] | None = None
    """`model_type`s it runs; None: any causal model."""
    needs_torch: bool = False


@dataclass(frozen=True, slots=True)
class Logits:
    """Next-token logits of the sequences that are ready."""

    sequences: tuple[int, ...]
    values: NDArray[float32]
    """[len(sequences), vocabulary]; valid until the next step."""


class SequenceBatch(Protocol):
    """Sequences of one version that advance together. Not safe for several threads."""

    def join(self, prompt_ids: Sequence[int]) -> int:
        """Takes a prompt in (1 ≤ tokens ≤ max_positions); work on it begins at the next step. Returns the sequence's number."""
        ...

    def leave(self, sequence: int) -> None:
        """Forgets a sequence at once, whatever its state."""
        ...

    def step(self, chosen: Mapping[int, int]) -> Logits:
        """Feeds each chosen token to its sequence and works on prompts that joined.

        `chosen` must hold a token for every sequence whose logits the step before returned, unless it has left.
        A long prompt may take several steps. A sequence must not exceed max_positions tokens.
        """
        ...


class LoadedModel(Protocol):
    """Weights in memory."""

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def max_positions(self) -> int:
        """Prompt and answer together, in tokens."""
        ...

    def open_batch(self) -> SequenceBatch: ...


class Engine(Protocol):
    """One technology."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> EngineCapabilities: ...

    def refuses(self, config: CheckpointConfig) -> str | None:
        """Why this checkpoint cannot run here; None where it can."""
        ...

    def load(self, path: Path) -> LoadedModel:
        """fp32, whatever the checkpoint stores. CorruptDataError where the files are not a whole checkpoint."""
        ...
