"""What an EmbeddingModel declares."""

from typing import Annotated

from headrace.kinds.base_model.spec import ModelServingInfo, ModelServingTemplate
from headrace.kinds.fields import Count, Text, words
from headrace.kinds.secrets import Secret
from headrace.kinds.spec_model import SpecModel

PROVIDERS = ("HUGGINGFACE", "OPENAI")


class EmbeddingServingInfo(ModelServingInfo):
    """Where the vectors come from: weights on this machine, or a service that speaks OpenAI's API."""

    model_provider: Annotated[str, words(*PROVIDERS)] = "HUGGINGFACE"
    """HUGGINGFACE: weights on this machine; OPENAI: any service with OpenAI's /embeddings."""
    url: Text | None = None
    """URL of the service, such as https://api.openai.com/v1."""
    apikey: Secret | None = None
    """API key of the service."""
    model: Text | None = None
    """The model's name at the service. Default: `embeddingModelName`."""
    dimension: Count | None = None
    """Dimension of the service's vectors. Default: that of its first answer."""


class EmbeddingModelSpec(SpecModel):
    """The model that turns text into vectors."""

    embedding_model_name: Text | None = None
    """Display name. Default: the resource's name."""
    embedding_model_serving_info: EmbeddingServingInfo
    """Where the vectors come from."""
    embedding_model_serving_template: ModelServingTemplate = ModelServingTemplate()
    """How to serve the model."""
    golden_queries: Text | None = None
    """JSON Lines of questions with graded answers, used to choose the precision. Default: Headrace's own."""
