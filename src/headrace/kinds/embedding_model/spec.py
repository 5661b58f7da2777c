"""What an EmbeddingModel declares."""

from headrace.kinds.base_model.spec import ModelServingInfo, ModelServingTemplate
from headrace.kinds.fields import Text
from headrace.kinds.spec_model import SpecModel


class EmbeddingModelSpec(SpecModel):
    """The model that turns text into vectors."""

    embedding_model_name: Text | None = None
    """Name of the model for people; left out: the resource's name."""
    embedding_model_serving_info: ModelServingInfo
    """Where the weights come from."""
    embedding_model_serving_template: ModelServingTemplate = ModelServingTemplate()
    """How the model is served."""
