"""The model being trained: its trainable parameters, their average, and both as dense weights, full or LoRA."""

import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import PreTrainedModel

from headrace.learning.torch import weights
from headrace.learning.torch.weights import Weights

_ADAPTER = "default"


class Trainee:
    """Owns a model. `parameters` are trained; `average` follows them step by step."""

    def __init__(self, model: PreTrainedModel, *, lora_rank: int | None, seed: int) -> None:
        """`lora_rank` None: every parameter is trained. `seed` initialises the adapters."""
        self._dense = weights.live(model)
        self._tables = (model.get_input_embeddings(), model.get_output_embeddings())
        self._seed = seed
        self._lora = lora_rank is not None
        self.module: nn.Module = model if lora_rank is None else _with_adapters(model, lora_rank, seed)
        self._adapted = _adapted_layers(self.module) if self._lora else {}
        self.parameters = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self.average = [p.detach().clone() for _, p in self.parameters]
        self.steps_averaged = 0

    @property
    def lora(self) -> bool:
        return self._lora

    def embeddings(self) -> set[int]:
        """Ids of the input and output tables' parameters."""
        return {id(p) for table in self._tables if table is not None for p in table.parameters()}

    def follow(self, decay: float) -> None:
        """Updates the average: average ← d · average + (1 − d) · parameters, d = min(decay, (1 + n) / (10 + n)) at the n-th step.

        The rising decay keeps the untrained initial weights out of early averages (as TensorFlow's
        ExponentialMovingAverage does with `num_updates`).
        """
        rising = (1 + self.steps_averaged) / (10 + self.steps_averaged)
        get_ema_multi_avg_fn(min(decay, rising))(self.average, [p.detach() for _, p in self.parameters], 0)
        self.steps_averaged += 1

    def start(self, dense: Weights) -> None:
        """Restarts from dense weights: fresh adapters, the average at the new start."""
        for name, tensor in self._dense.items():
            tensor.data = dense[name].clone()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(self._seed)
            for layer in self._adapted.values():
                layer.reset_lora_parameters(_ADAPTER, True)
        self._copy(into=self.average, values=[p for _, p in self.parameters])
        self.steps_averaged = 0

    def frozen(self) -> dict[str, Tensor]:
        """The dense tensors that are never trained, shared, not copied."""
        learning = {id(p) for _, p in self.parameters}
        return {name: tensor.detach() for name, tensor in self._dense.items() if id(tensor) not in learning}

    def dense(self, *, averaged: bool) -> dict[str, Tensor]:
        """Copies of the weights as one dense model, adapters merged; untrained tensors are shared, not copied."""
        values = [p for _, p in self.parameters]
        live = [p.detach().clone() for p in values]
        if averaged:
            self._copy(into=values, values=self.average)
        try:
            return self._merged()
        finally:
            self._copy(into=values, values=live)

    def _merged(self) -> dict[str, Tensor]:
        merged = self.frozen()
        merged.update((name, p.detach().clone()) for name, p in self.parameters if name in self._dense)
        for name, layer in self._adapted.items():
            with torch.no_grad():
                merged[name] = self._dense[name].detach() + layer.get_delta_weight(_ADAPTER)
        return {name: merged[name] for name in self._dense}

    @staticmethod
    def _copy(*, into: list[Any], values: list[Any]) -> None:
        with torch.no_grad():
            for target, value in zip(into, values, strict=True):
                target.copy_(value)


def _with_adapters(model: PreTrainedModel, rank: int, seed: int) -> nn.Module:
    from peft import LoraConfig, get_peft_model  # six seconds to import: only for LoRA

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # peft uses names that transformers has deprecated
        torch.manual_seed(seed)
        return cast("nn.Module", get_peft_model(model, config))


def _adapted_layers(module: nn.Module) -> dict[str, Any]:
    """Adapted layers by their matrix's name in the dense model."""
    return {
        f"{name.removeprefix('base_model.model.')}.weight": cast("Any", part)
        for name, part in module.named_modules()
        if hasattr(part, "get_delta_weight") and hasattr(part, "lora_A")
    }
