"""New small Llama checkpoints in Hugging Face's layout, created without torch: the same seed gives the same bytes."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from headrace.models import word_tokenizer
from headrace.models.word_tokenizer import train_word_tokenizer
from headrace.models.word_vectors import related_vectors

Size = Literal["tiny", "1m", "10m", "100m"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a Llama model with tied embeddings."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    vocabulary: int
    """Maximum; fewer if the sample text has fewer words."""
    initializer_range: float
    """Standard deviation of the initial weights; a hidden size of 64 learns fastest with 0.1."""
    context: int


SHAPES: dict[Size, Shape] = {
    "tiny": Shape(64, 128, 2, 4, 1360, 0.1, 1024),
    "1m": Shape(128, 344, 4, 4, 2048, 0.05, 2048),
    "10m": Shape(320, 864, 7, 5, 4096, 0.02, 2048),
    "100m": Shape(768, 2048, 12, 12, 32_000, 0.02, 4096),
}


def new_checkpoint(
    path: Path, *, size: Size, text: Iterable[str], seed: int = 0, vocabulary: int | None = None
) -> None:
    """Writes an untrained checkpoint whose vocabulary is the most common words in `text` (questions and answers alike).

    `path` is created; FileExistsError if it already contains a checkpoint. ValueError if `vocabulary` is too small.
    """
    if (path / "config.json").exists():
        raise FileExistsError(f"{path} already holds a checkpoint")
    shape = SHAPES[size]
    tokenizer = train_word_tokenizer(text, vocabulary=vocabulary or shape.vocabulary)
    path.mkdir(parents=True, exist_ok=True)
    save_file(_weights(shape, tokenizer.get_vocab(), seed), path / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(path / "tokenizer.json"))
    ids = tokenizer.get_vocab()
    end, pad = ids[word_tokenizer.END], ids[word_tokenizer.PAD]
    _write_json(path / "config.json", _config(shape, tokenizer.get_vocab_size(), end, pad))
    _write_json(path / "tokenizer_config.json", _tokenizer_config(shape))
    _write_json(path / "generation_config.json", {"eos_token_id": end, "pad_token_id": pad, "do_sample": False})
    (path / "chat_template.jinja").write_text(word_tokenizer.CHAT_TEMPLATE, encoding="utf-8")


def _weights(shape: Shape, vocabulary: dict[str, int], seed: int) -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return (generator.standard_normal((rows, columns)) * shape.initializer_range).astype(np.float32)

    ones = np.ones(shape.hidden, np.float32)
    table = related_vectors(matrix(len(vocabulary), shape.hidden), vocabulary, shape.initializer_range)
    weights = {"model.embed_tokens.weight": table, "model.norm.weight": ones}
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            weights[f"{prefix}self_attn.{name}.weight"] = matrix(shape.hidden, shape.hidden)
        for name in ("gate_proj", "up_proj"):
            weights[f"{prefix}mlp.{name}.weight"] = matrix(shape.intermediate, shape.hidden)
        weights[f"{prefix}mlp.down_proj.weight"] = matrix(shape.hidden, shape.intermediate)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{name}.weight"] = ones
    return weights


def _config(shape: Shape, vocabulary: int, end: int, pad: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": shape.context,
        "initializer_range": shape.initializer_range,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "hidden_act": "silu",
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": pad,
        "dtype": "float32",
    }


def _tokenizer_config(shape: Shape) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": word_tokenizer.END,
        "pad_token": word_tokenizer.PAD,
        "unk_token": word_tokenizer.UNKNOWN,
        "additional_special_tokens": [word_tokenizer.SYSTEM, word_tokenizer.USER, word_tokenizer.ASSISTANT],
        "clean_up_tokenization_spaces": False,
        "model_max_length": shape.context,
    }


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
