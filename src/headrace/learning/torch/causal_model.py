"""Hugging Face models as the learner needs them: opened safely, called on packed batches, checked against their own attention."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from headrace.foundation.errors import CorruptDataError
from headrace.learning.torch import attention
from headrace.learning.torch.attention import UnpackableError
from headrace.learning.torch.batch import Batch, to_batch
from headrace.models.checkpoint_check import inspect_checkpoint
from headrace.models.sequence import TokenSequence


def prepare_process(threads: int) -> None:
    """Fixes what bit-for-bit repeatability depends on: thread count and deterministic kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def open_model(path: Path, device: torch.device) -> PreTrainedModel:
    """Loads a weights folder in fp32, safetensors only, without running its code; errors as in `inspect_checkpoint`."""
    inspect_checkpoint(path)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise CorruptDataError(f"the weights folder cannot be loaded: {error}", where=str(path)) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    return cast("PreTrainedModel", model).to(device)  # pyright: ignore[reportArgumentType]


class CausalModel:
    """A model that gives the logits of a batch's answer tokens, packed if its attention allows it."""

    def __init__(self, model: nn.Module, config: Any, *, packs: bool, mixed_precision: bool) -> None:
        self.module = model
        self._hidden: int = config.get_text_config().hidden_size
        self._packs = packs
        self.compute_with(mixed_precision=mixed_precision)

    def compute_with(self, *, mixed_precision: bool) -> None:
        """bf16 autocast or fp32, from the next call on."""
        self._autocast = torch.bfloat16 if mixed_precision else None

    def batch(self, sequences: list[TokenSequence]) -> Batch:
        return to_batch(sequences, hidden=self._hidden, device=next(self.module.parameters()).device)

    def logits(self, batch: Batch) -> Tensor:
        """[answer tokens, vocabulary], fp32."""
        device = batch.ids.device.type
        with torch.autocast(device, dtype=self._autocast, enabled=self._autocast is not None):
            logits = self._packed(batch) if self._packs else torch.cat(list(self._apart(batch)))
        return logits.float()

    def _packed(self, batch: Batch) -> Tensor:
        with attention.packed(batch.blocks):
            out = self.module(
                input_ids=batch.ids, position_ids=batch.positions, logits_to_keep=batch.reads, use_cache=False
            )
        return out.logits[0]

    def _apart(self, batch: Batch) -> Iterator[Tensor]:
        """One sequence at a time, with the model's own attention: for architectures that cannot be packed."""
        start = read = 0
        for length, answers in zip(batch.lengths, batch.answers, strict=True):
            out = self.module(input_ids=batch.ids[:, start : start + length], use_cache=False)
            yield out.logits[0, batch.reads[read : read + answers] - start]
            start, read = start + length, read + answers


def can_pack(model: PreTrainedModel) -> bool:
    """Whether packed logits equal those of the model's own attention, one sequence at a time; leaves the model packed if so."""
    size = model.config.get_text_config().vocab_size
    ids = [(7 * place * place + 3 * place + 1) % size for place in range(14)]
    samples = [TokenSequence(tuple(ids[:length]), 1) for length in (3, 5, 5, 14)]
    training, own_attention = model.training, model.config._attn_implementation  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    model.eval()
    try:
        with torch.no_grad():
            plain = CausalModel(model, model.config, packs=False, mixed_precision=False)
            expected = plain.logits(plain.batch(samples))
            model.set_attn_implementation(attention.NAME)
            flat = CausalModel(model, model.config, packs=True, mixed_precision=False)
            given = flat.logits(flat.batch(samples))
        close = torch.allclose(given, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    except (UnpackableError, ValueError, TypeError, RuntimeError):
        close = False
    finally:
        model.train(training)
    if not close:
        model.set_attn_implementation(cast("str", own_attention))
    return close
