"""What a BaseModel declares."""

from typing import Annotated

from headrace.kinds.fields import Count, Cpu, Memory, Text, Whole, words
from headrace.kinds.secrets import Secret
from headrace.kinds.spec_model import SpecModel

PROVIDERS = ("HUGGINGFACE",)


class ServingResources(SpecModel):
    """What one served replica may use."""

    cpu: Cpu | None = None
    """Cores, such as 8 or 8000m: threads of the numeric libraries."""
    memory: Memory | None = None
    """Memory, such as 24Gi."""
    gpu: Whole = 0
    """Graphics processors."""


class ModelServingInfo(SpecModel):
    """Where the weights come from: a Hugging Face id or a local path."""

    hf_model_id: Text | None = None
    """Hugging Face id, such as meta-llama/Llama-3-8B; looked up in the local cache, never downloaded while running."""
    path: Text | None = None
    """Folder with a checkpoint in Hugging Face's layout (safetensors), relative to this file; goes before the id."""
    model_provider: Annotated[str, words(*PROVIDERS)] = "HUGGINGFACE"
    """Who provides the model."""
    model_provider_token: Secret | None = None
    """Token for gated models, used when the model is fetched into the cache."""


class ModelServingTemplate(SpecModel):
    """How the model is served."""

    replicas: Count = 1
    """Processes that answer, behind one address."""
    resource_limit: ServingResources = ServingResources()
    """The most that a replica may use."""
    resource_request: ServingResources = ServingResources()
    """What a replica asks the cluster for; on one machine the limit alone acts."""


class BaseModelSpec(SpecModel):
    """The small model that learns and is served."""

    base_model_name: Text | None = None
    """Name of the model for people; left out: the resource's name."""
    base_model_serving_info: ModelServingInfo
    """Where the weights come from."""
    base_model_serving_template: ModelServingTemplate = ModelServingTemplate()
    """How the model, and every model tuned from it, is served."""
