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
    """Hugging Face id, such as meta-llama/Llama-3-8B; looked up in the local cache, never downloaded at run time."""
    path: Text | None = None
    """Folder with a checkpoint in Hugging Face's layout (safetensors), relative to this file; takes precedence over the id."""
    model_provider: Annotated[str, words(*PROVIDERS)] = "HUGGINGFACE"
    """Who provides the model."""
    model_provider_token: Secret | None = None
    """Token for gated models, used to fetch the model into the cache."""


class ModelServingTemplate(SpecModel):
    """How the model is served."""

    replicas: Count = 1
    """Number of serving processes behind one address."""
    resource_limit: ServingResources = ServingResources()
    """Upper limit per replica."""
    resource_request: ServingResources = ServingResources()
    """What a replica requests from a cluster; on one machine only the limit acts."""


class BaseModelSpec(SpecModel):
    """The small model that learns and is served."""

    base_model_name: Text | None = None
    """Display name. Default: the resource's name."""
    base_model_serving_info: ModelServingInfo
    """Where the weights come from."""
    base_model_serving_template: ModelServingTemplate = ModelServingTemplate()
    """How to serve the model and every model tuned from it."""
