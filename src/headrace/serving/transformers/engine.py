"""The transformers implementation of the room's port."""

import inspect
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from headrace.foundation.errors import CorruptDataError
from headrace.serving.checkpoint import CheckpointConfig, read_config
from headrace.serving.engine import EngineCapabilities
from headrace.serving.transformers.sequence_batch import CausalModel, TransformersSequenceBatch


class TransformersModel:
    """A model in evaluation mode; every batch has its own caches."""

    def __init__(self, model: CausalModel, config: CheckpointConfig, vocabulary_size: int) -> None:
        self._model = model
        self._max_positions = config.max_positions
        self._vocabulary_size = vocabulary_size
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    @property
    def vocabulary_size(self) -> int:
        return self._vocabulary_size

    @property
    def max_positions(self) -> int:
        return self._max_positions

    def open_batch(self) -> TransformersSequenceBatch:
        return TransformersSequenceBatch(
            self._model, self._vocabulary_size, self._max_positions, takes_positions=self._takes_positions
        )


class TransformersEngine:
    """Any decoder with a key-value cache, in fp32 on the CPU. A repository's own code is never run."""

    name = "transformers"
    capabilities = EngineCapabilities(needs_torch=True)

    def refuses(self, config: CheckpointConfig) -> str | None:
        if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return f"transformers has no causal model of type {config.model_type!r}"
        if config.values.get("quantization_config"):
            return "the weights are quantised"
        if config.values.get("is_encoder_decoder"):
            return "it is an encoder-decoder model"
        return None

    def load(self, path: Path) -> TransformersModel:
        logging.disable_progress_bar()
        config = read_config(path)
        try:
            loader = cast("Any", AutoModelForCausalLM)
            model, info = loader.from_pretrained(
                path,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # safetensors, json and torch raise their own errors, without a common base
            raise CorruptDataError(f"transformers cannot load the checkpoint: {error}", where=str(path)) from error
        if missing := sorted(info["missing_keys"]):
            raise CorruptDataError(f"the weights have no {', '.join(missing[:3])}", where=str(path))
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            raise CorruptDataError(f"{config.model_type} has no key-value cache", where=str(path))
        return TransformersModel(model.eval(), config, model.config.get_text_config().vocab_size)
