"""A BaseModel → the folder of its weights, and how it is served."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from headrace.foundation.errors import NotFoundError
from headrace.kinds.base_model.spec import BaseModelSpec, ModelServingInfo, ServingResources
from headrace.kinds.devices import gpu_missing
from headrace.kinds.planning import Planned, Planning
from headrace.kinds.resource import Resource
from headrace.stages.limits import ResourceLimits
from headrace.stages.serve.options import ServedModel
from headrace.stages.serve.spec import serve_spec
from headrace.stages.topology import Note


class ModelNotFoundError(NotFoundError):
    """The weights are not on this machine, or not in a form that is read."""


def plan(model: Resource, planning: Planning) -> Planned:
    """Served under its own name; provides the folder of its weights."""
    folder = checkpoint(model, planning.environ)
    return Planned((serve_spec(served_base(model, folder)),), folder)


def notes(model: Resource, planning: Planning) -> Iterator[Note]:
    """A missing GPU."""
    wanted = cast("BaseModelSpec", model.spec).base_model_serving_template.resource_limit.gpu
    yield from gpu_missing(model.id, wanted, planning.gpus)


def checkpoint(model: Resource, environ: Mapping[str, str]) -> Path:
    """The folder of a BaseModel's checkpoint. ModelNotFoundError says what is not there and what to do."""
    return weights_folder(cast("BaseModelSpec", model.spec).base_model_serving_info, model.folder, environ)


def weights_folder(info: ModelServingInfo, base_dir: Path, environ: Mapping[str, str]) -> Path:
    """The folder of a checkpoint in Hugging Face's layout. ModelNotFoundError says what is not there and what to do."""
    folder = _folder(info, base_dir, environ)
    for name, why in (("config.json", "its configuration"), ("tokenizer.json", "its tokenizer")):
        if not (folder / name).is_file():
            raise ModelNotFoundError(
                f"{folder} holds no {name}, {why}",
                next_step="Set `path` to a checkpoint folder in Hugging Face's layout.",
            )
    if not any(folder.glob("*.safetensors")):
        raise ModelNotFoundError(f"{folder} holds no safetensors", next_step="Save the model with save_pretrained; other formats can run code and are not read.")  # fmt: skip
    return folder


def _folder(info: ModelServingInfo, base_dir: Path, environ: Mapping[str, str]) -> Path:
    if info.path is not None:
        folder = (base_dir / Path(info.path).expanduser()).resolve()
        if not folder.is_dir():
            raise ModelNotFoundError(
                f"there is no folder {folder}",
                next_step="Put the checkpoint there, or create a small one: headrace models new PATH --size tiny --text FILE.",
            )
        return folder
    found = cached(cast("str", info.hf_model_id), environ)
    if found is None:
        raise ModelNotFoundError(
            f"{info.hf_model_id} is not in the local Hugging Face cache ({hub_cache(environ)})",
            next_step=f"Fetch it once with `hf download {info.hf_model_id}` (gated models need a token), or set `path` to a folder.",
        )
    return found


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Where Hugging Face's libraries keep what they fetched."""
    if given := environ.get("HF_HUB_CACHE"):
        return Path(given)
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "hub"


def cached(model_id: str, environ: Mapping[str, str]) -> Path | None:
    """The snapshot that `main` stands for, without any call over the network; None where it is not there."""
    repository = hub_cache(environ) / f"models--{model_id.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if not reference.is_file():
        return None
    snapshot = repository / "snapshots" / reference.read_text("utf-8").strip()
    return snapshot if snapshot.is_dir() else None


def served_base(model: Resource, folder: Path) -> ServedModel:
    """The base itself, under its own name."""
    spec = cast("BaseModelSpec", model.spec)
    template = spec.base_model_serving_template
    return ServedModel(
        model.id,
        folder,
        model.id,
        replicas=template.replicas,
        limits=limits(template.resource_limit),
    )


def limits(given: ServingResources) -> ResourceLimits:
    """What a replica's process may use."""
    return ResourceLimits(given.cpu, given.memory)
