"""The parts of a checkpoint's `config.json` that serving needs before any weights are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec

from headrace.foundation.errors import CorruptDataError, NotFoundError

DEFAULT_MAX_POSITIONS = 2048
"""For architectures whose configuration sets no limit."""


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """`config.json`, with the values that every engine needs."""

    path: Path
    model_type: str
    values: Mapping[str, object] = field(repr=False)

    @property
    def max_positions(self) -> int:
        for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
            value = self.values.get(name)
            if isinstance(value, int) and value > 0:
                return value
        return DEFAULT_MAX_POSITIONS

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """`eos_token_id`: one or several."""
        value = self.values.get("eos_token_id")
        if isinstance(value, int):
            return (value,)
        return tuple(cast("list[int]", value)) if isinstance(value, list) else ()


def read_config(path: Path) -> CheckpointConfig:
    """NotFoundError without a config.json, CorruptDataError if it is invalid."""
    values = read_json(path / "config.json")
    model_type = values.get("model_type")
    if not isinstance(model_type, str):
        raise CorruptDataError("config.json has no model_type", where=str(path))
    return CheckpointConfig(path, model_type, values)


def read_end_token_ids(path: Path) -> tuple[int, ...]:
    """Where generation stops: generation_config.json's `eos_token_id`, otherwise config.json's."""
    if (path / "generation_config.json").is_file():
        generation = CheckpointConfig(path, "", read_json(path / "generation_config.json"))
        if generation.end_token_ids:
            return generation.end_token_ids
    return read_config(path).end_token_ids


def read_json(file: Path) -> dict[str, object]:
    """A JSON object. NotFoundError if the file is missing, CorruptDataError if it is not an object."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{file.parent} is not a checkpoint: it has no {file.name}",
            next_step="Give a directory written by save_pretrained.",
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptDataError(f"the file is not a JSON object: {error}", where=str(file)) from error
