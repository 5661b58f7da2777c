"""Exports an embedding checkpoint to ONNX: `python -m headrace.models.torch.export_embedder FOLDER FILE.onnx`.

Inputs: input_ids, attention_mask [texts, tokens], int64. Output: vectors [texts, dimension], float32, of length 1. Weights are read from
safetensors only, and the checkpoint's own code is never run.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from headrace.models.embedding_checkpoint import EmbeddingCheckpoint, Pooling, read_checkpoint

OPSET = 18


class PooledModel(torch.nn.Module):
    """A transformer that gives one vector per text."""

    def __init__(self, model: torch.nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[texts, tokens] twice → [texts, dimension]."""
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return torch.nn.functional.normalize(self._pool(hidden, attention_mask), p=2.0, dim=1)

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "max":
            return (hidden + (weights - 1.0) * 1e9).amax(dim=1)
        if self.pooling == "last":
            last = mask.sum(dim=1) - 1
            return hidden.gather(1, last.view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])).squeeze(1)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def export(checkpoint: EmbeddingCheckpoint, target: Path) -> None:
    """Writes the graph."""
    model: Any = AutoModel.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=False, use_safetensors=True,
        attn_implementation="eager", dtype=torch.float32,
    )  # fmt: skip
    pooled = PooledModel(model.eval(), checkpoint.pooling).eval()
    ids = torch.ones(2, 8, dtype=torch.long)
    axes = {
        "input_ids": {0: "texts", 1: "tokens"},
        "attention_mask": {0: "texts", 1: "tokens"},
        "vectors": {0: "texts"},
    }
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter(
            "ignore"
        )  # the tracer warns about every shape it inspects; the result is compared with the model's own
        torch.onnx.export(
            pooled, (ids, torch.ones_like(ids)), str(target), input_names=["input_ids", "attention_mask"],
            output_names=["vectors"], dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip


def main() -> int:
    """Exit code 0 once the file is complete."""
    folder, target = map(Path, sys.argv[1:3])
    export(read_checkpoint(folder), target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
