"""The ids that tests speak of, in the default namespace where none is named."""

from headrace.foundation.resource_id import DEFAULT_NAMESPACE, ResourceId


def connector_id(name: str, namespace: str = DEFAULT_NAMESPACE) -> ResourceId:
    """A StreamConnector's."""
    return ResourceId("StreamConnector", namespace, name)


def finetuner_id(name: str, namespace: str = DEFAULT_NAMESPACE) -> ResourceId:
    """A StreamFinetuner's."""
    return ResourceId("StreamFinetuner", namespace, name)


def base_model_id(name: str, namespace: str = DEFAULT_NAMESPACE) -> ResourceId:
    """A BaseModel's."""
    return ResourceId("BaseModel", namespace, name)


def embedding_model_id(name: str, namespace: str = DEFAULT_NAMESPACE) -> ResourceId:
    """An EmbeddingModel's."""
    return ResourceId("EmbeddingModel", namespace, name)


def knowledge_base_id(name: str, namespace: str = DEFAULT_NAMESPACE) -> ResourceId:
    """A KnowledgeBase's."""
    return ResourceId("KnowledgeBase", namespace, name)
