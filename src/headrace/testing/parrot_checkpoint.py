"""Checkpoints that always say one word: an answer that mixes two versions is seen at once."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from headrace.models.tiny import Size, new_checkpoint

LOUD = np.float32(8)


def new_parrot(path: Path, word: str, *, size: Size = "tiny") -> None:
    """Writes a checkpoint whose every next token is `word`'s, whatever the prompt; the layers work as in any other.

    ValueError where the tokenizer has no token of its own for `word`; single letters always have one.
    """
    new_checkpoint(path, size=size, text=["a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9"])
    token = _token(path, word)
    weights = load_file(path / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"].copy()
    embedding[:, 0] = LOUD
    head = np.zeros_like(embedding)
    head[token, 0] = LOUD
    for name in weights:
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weights[name] = np.zeros_like(weights[name])  # nothing is added to the loud feature of every token
    weights |= {"model.embed_tokens.weight": embedding, "lm_head.weight": head}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    (path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}), encoding="utf-8")


def _token(path: Path, word: str) -> int:
    ids = Tokenizer.from_file(str(path / "tokenizer.json")).encode(word, add_special_tokens=False).ids
    if len(ids) != 1:
        raise ValueError(f"{word!r} has {len(ids)} tokens, not one")
    return ids[0]
