"""An embedding checkpoint's settings: how tokens become one vector, and how long a text may be.

Read from sentence-transformers' files (`modules.json`, `N_Pooling/config.json`, `sentence_bert_config.json`) next to Hugging Face's own;
a checkpoint without them is mean-pooled, as in sentence-transformers.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from headrace.foundation.errors import CorruptDataError, NotFoundError
from headrace.models.json_file import read_json_object

Pooling = Literal["mean", "cls", "max", "last"]
_MODES: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_FILES = ("config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json")
_DEFAULT_LENGTH = 512


@dataclass(frozen=True, slots=True)
class EmbeddingCheckpoint:
    """A folder with weights."""

    folder: Path
    pooling: Pooling
    normalised: bool
    """Whether the checkpoint itself normalises vectors to length 1."""
    max_tokens: int
    """Special tokens included."""
    dimension: int
    digest: str
    """Hash of everything that determines its vectors."""


def read_checkpoint(folder: Path) -> EmbeddingCheckpoint:
    """NotFoundError if a file is missing, CorruptDataError if one is unusable."""
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise NotFoundError(
                f"{folder} has no {name}", next_step="give a checkpoint folder in Hugging Face's layout"
            )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise NotFoundError(f"{folder} has no safetensors file", next_step="save the model with save_pretrained")
    config = read_json_object(folder / "config.json")
    modules = _modules(folder)
    pooling = _pooling(folder, modules)
    own = read_json_object(folder / "sentence_bert_config.json").get("max_seq_length")
    positions = config.get("max_position_embeddings")
    lengths = [int(value) for value in (own, positions) if isinstance(value, int) and value > 0]
    dimension = config.get("hidden_size")
    if not isinstance(dimension, int):
        raise CorruptDataError("config.json has no hidden_size", where=str(folder))
    normalised = any(str(one.get("type", "")).endswith("Normalize") for one in modules)
    return EmbeddingCheckpoint(
        folder, pooling, normalised, min(lengths, default=_DEFAULT_LENGTH), dimension, _digest(folder, weights)
    )


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise CorruptDataError(f"the file does not parse: {error}", where=str(path)) from error


def _pooling(folder: Path, modules: list[dict[str, Any]]) -> Pooling:
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            given = read_json_object(folder / str(module.get("path", "")) / "config.json")
            chosen: list[Pooling] = [mode for key, mode in _MODES.items() if given.get(key)]
            named = given.get("pooling_mode")
            if isinstance(named, str) and named in _MODES.values():
                chosen = [cast("Pooling", named)]
            if len(chosen) != 1:
                raise CorruptDataError(
                    f"the pooling {given} is not one of: {', '.join(_MODES.values())}", where=str(folder)
                )
            return chosen[0]
        if kind not in ("Transformer", "Normalize"):
            raise CorruptDataError(f"a module of type {kind} is not supported", where=str(folder / "modules.json"))
    return "mean"


def _digest(folder: Path, weights: list[Path]) -> str:
    digest = hashlib.sha256()
    pooling = sorted(folder.glob("*_Pooling/config.json"))
    for path in [*weights, *(folder / name for name in _FILES), *pooling]:
        if path.is_file():
            digest.update(path.name.encode() + b"\0")
            with path.open("rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
    return digest.hexdigest()[:32]
