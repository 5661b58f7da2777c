"""The port to the computation: an engine loads checkpoints and returns next-token logits for sequences that come and go.

Sampling, stop sequences, text and log-probabilities are the same for every engine and are in `version_batch.py`;
an engine only handles token ids. An engine passes `headrace.testing.engine_serving_conformance`.
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
    """An engine's capabilities, as data: checked before it is given a checkpoint."""

    streaming: bool = True
    """Streams tokens one by one."""
    logprobs: bool = True
    sampling: bool = True
    adapters: bool = False
    """Loads LoRA adapters directly; otherwise versions are merged first."""
    joining: bool = True
    """Sequences join a running batch between steps."""
    architectures: frozenset[str] | None = None
    """The `model_type`s it runs; None: any causal model."""
    needs_torch: bool = False


@dataclass(frozen=True, slots=True)
class Logits:
    """Next-token logits of the sequences that are ready."""

    sequences: tuple[int, ...]
    values: NDArray[float32]
    """[len(sequences), vocabulary]; valid until the next step."""


class SequenceBatch(Protocol):
    """Sequences of one version that advance together. Not thread-safe."""

    def join(self, prompt_ids: Sequence[int]) -> int:
        """Adds a prompt (1 ≤ tokens ≤ max_positions); work on it begins at the next step. Returns the sequence's number."""
        ...

    def leave(self, sequence: int) -> None:
        """Drops a sequence at once, whatever its state."""
        ...

    def step(self, chosen: Mapping[int, int]) -> Logits:
        """Feeds each chosen token to its sequence and works on newly joined prompts.

        `chosen` must hold a token for every sequence whose logits the previous step returned, unless it has left.
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
        """Why this engine cannot run the checkpoint; None if it can."""
        ...

    def load(self, path: Path) -> LoadedModel:
        """fp32, whatever the checkpoint stores. CorruptDataError if the checkpoint is incomplete."""
        ...
