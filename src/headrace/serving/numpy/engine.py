"""The NumPy implementation of the room's port."""

from pathlib import Path

from headrace.serving.checkpoint import CheckpointConfig, read_config
from headrace.serving.engine import EngineCapabilities
from headrace.serving.numpy.sequence_batch import NumpySequenceBatch
from headrace.serving.numpy.shape import MODEL_TYPES, refusal
from headrace.serving.numpy.weights import DecoderWeights, load_weights


class NumpyModel:
    """Immutable weights; every batch has its own cache."""

    def __init__(self, weights: DecoderWeights) -> None:
        self._weights = weights

    @property
    def vocabulary_size(self) -> int:
        return self._weights.shape.vocabulary

    @property
    def max_positions(self) -> int:
        return self._weights.shape.max_positions

    def open_batch(self) -> NumpySequenceBatch:
        return NumpySequenceBatch(self._weights)


class NumpyEngine:
    """Llama, Mistral and Qwen checkpoints with full attention, in fp32 on the CPU."""

    name = "numpy"
    capabilities = EngineCapabilities(architectures=MODEL_TYPES)

    def refuses(self, config: CheckpointConfig) -> str | None:
        return refusal(config)

    def load(self, path: Path) -> NumpyModel:
        return NumpyModel(load_weights(path, read_config(path)))
