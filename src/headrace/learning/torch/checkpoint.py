"""A learner's state on disk: one safetensors file per part and a manifest with their digests. No pickle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, NotFoundError, StateVersionError
from headrace.learning.torch.weights import Weights, read_tensors, write_tensors

MANIFEST = "learner.json"
VERSION = 1
_PARTS = ("parameters", "average", "optimizer", "shared")
_SLOT = "slot-"


@dataclass(frozen=True, slots=True)
class LearnerState:
    """Everything the next step depends on."""

    steps_since_warm: int
    steps_averaged: int
    random: Tensor
    """State of PyTorch's CPU generator (dropout), bytes."""
    parameters: Weights
    """Trainable parameters."""
    average: Weights
    optimizer: Weights
    shared: Weights
    """Dense tensors that are not trained; empty if they are the base's."""
    slots: Mapping[str, Weights]
    """Frozen slots that no version on disk has."""


def write(path: Path, state: LearnerState) -> None:
    """Fills the directory `path`; equal states give equal bytes."""
    path.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Weights] = {part: getattr(state, part) for part in _PARTS}
    parts["random"] = {"cpu": state.random}
    parts |= {f"{_SLOT}{name}": tensors for name, tensors in state.slots.items()}
    files: dict[str, str] = {}
    for part, tensors in parts.items():
        if tensors:
            file = path / f"{part}.safetensors"
            write_tensors(file, tensors)
            files[file.name] = _sha256(file)
    manifest = {
        "version": VERSION,
        "stepsSinceWarm": state.steps_since_warm,
        "stepsAveraged": state.steps_averaged,
        "files": files,
    }
    (path / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read(path: Path, device: torch.device) -> LearnerState:
    """NotFoundError, StateVersionError, or CorruptDataError naming the file that was changed."""
    manifest = _read_manifest(path)
    for name, expected in manifest["files"].items():
        if not (path / name).is_file() or _sha256(path / name) != expected:
            raise CorruptDataError("the file was changed after it was written", where=str(path / name))
    parts = {Path(name).stem: path / name for name in manifest["files"]}
    tensors = {part: read_tensors(file, device) for part, file in parts.items()}
    return LearnerState(
        steps_since_warm=manifest["stepsSinceWarm"],
        steps_averaged=manifest["stepsAveraged"],
        random=tensors["random"]["cpu"].cpu(),
        parameters=tensors["parameters"],
        average=tensors["average"],
        optimizer=tensors.get("optimizer", {}),
        shared=tensors.get("shared", {}),
        slots={part.removeprefix(_SLOT): values for part, values in tensors.items() if part.startswith(_SLOT)},
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        raise NotFoundError(f"{path} is not a learner's checkpoint: it has no {MANIFEST}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["version"] > VERSION:
            raise StateVersionError(
                f"the checkpoint has version {manifest['version']}, but this Headrace reads {VERSION}",
                where=str(file),
                next_step="Use the Headrace that wrote it, or a newer one.",
            )
        if not isinstance(manifest["stepsSinceWarm"], int) or not {"parameters.safetensors"} <= set(manifest["files"]):
            raise CorruptDataError("the manifest is incomplete", where=str(file))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptDataError("the manifest cannot be read", where=str(file)) from error
    return manifest


def expect_same_tensors(path: Path, saved: Weights, live: Weights) -> None:
    """InvalidDeclarationError if the checkpoint is for another model or method."""
    for name in sorted(saved.keys() | live.keys()):
        if name not in saved or name not in live or saved[name].shape != live[name].shape:
            raise InvalidDeclarationError(
                f"the checkpoint's {name} does not match the base model",
                where=str(path),
                next_step="Restore with the base model and method used to train the checkpoint.",
            )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
