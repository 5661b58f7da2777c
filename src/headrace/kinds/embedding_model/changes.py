"""What changing an EmbeddingModel costs."""

from headrace.kinds.kind import Cost

COSTS: dict[str, Cost] = {
    "embeddingModelName": "none",
    "embeddingModelServingInfo": "re-embed",
    "embeddingModelServingInfo.modelProviderToken": "none",
    "embeddingModelServingTemplate": "restart",
    "embeddingModelServingTemplate.resourceRequest": "none",
}
