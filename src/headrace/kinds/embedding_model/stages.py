"""An EmbeddingModel → the processes that answer, or the service that does."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from headrace.kinds.base_model.stages import limits, weights_folder
from headrace.kinds.embedding_model.spec import EmbeddingModelSpec
from headrace.kinds.planning import Planned, Planning
from headrace.kinds.resource import Resource
from headrace.kinds.secrets import SecretSources
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.embed.spec import embed_specs
from headrace.stages.serve.spec import embedding_door_spec


def plan(model: Resource, planning: Planning) -> Planned:
    """Its processes, and the door that embeds for clients; provides EmbedOptions."""
    options = embedding(model, planning.secrets, planning.environ)
    return Planned((*embed_specs(options), embedding_door_spec(options)), options)


def embedding(model: Resource, sources: SecretSources, environ: Mapping[str, str]) -> EmbedOptions:
    """How it is opened; secrets in clear. ModelNotFoundError, SecretNotFoundError."""
    spec = cast("EmbeddingModelSpec", model.spec)
    info, template = spec.embedding_model_serving_info, spec.embedding_model_serving_template
    options = EmbedOptions(
        model.id,
        replicas=template.replicas,
        limits=limits(template.resource_limit),
        golden=(model.folder / spec.golden_queries).resolve() if spec.golden_queries else None,
    )
    if info.model_provider == "OPENAI":
        return _service(options, spec, sources, model.folder)
    return replace(options, folder=weights_folder(info, model.folder, environ))


def _service(options: EmbedOptions, spec: EmbeddingModelSpec, sources: SecretSources, folder: Path) -> EmbedOptions:
    info = spec.embedding_model_serving_info
    return replace(
        options,
        url=(info.url or "").rstrip("/"),
        api_key=info.apikey.resolve(sources, folder) if info.apikey else None,
        remote_model=info.model or spec.embedding_model_name or options.id.name,
        dimension=info.dimension,
    )
