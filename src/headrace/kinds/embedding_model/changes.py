"""What changing an EmbeddingModel costs."""

from headrace.kinds.kind import Cost

COSTS: dict[str, Cost] = {
    "embeddingModelName": "none",
    "embeddingModelServingInfo": "re-embed",
    "embeddingModelServingInfo.modelProviderToken": "none",
    "embeddingModelServingInfo.apikey": "restart",
    "goldenQueries": "restart",
    "embeddingModelServingTemplate": "restart",
    "embeddingModelServingTemplate.resourceRequest": "none",
}
