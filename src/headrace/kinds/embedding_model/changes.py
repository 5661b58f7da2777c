"""What changing an EmbeddingModel does."""

from headrace.kinds.verdict import AT_ONCE, NEW_GENERATION, NO_EFFECT, RESTART, Verdict

VERDICTS: dict[str, Verdict] = {
    "embeddingModelName": NEW_GENERATION.saying(
        "If it names the service's model, a new generation is built beside the active one. Otherwise it has no effect."
    ),
    "embeddingModelServingInfo.hfModelId": NEW_GENERATION,
    "embeddingModelServingInfo.path": NEW_GENERATION,
    "embeddingModelServingInfo.modelProvider": NEW_GENERATION,
    "embeddingModelServingInfo.modelProviderToken": NO_EFFECT,
    "embeddingModelServingInfo.url": NEW_GENERATION,
    "embeddingModelServingInfo.apikey": AT_ONCE,
    "embeddingModelServingInfo.model": NEW_GENERATION,
    "embeddingModelServingInfo.dimension": NEW_GENERATION,
    "embeddingModelServingTemplate.replicas": RESTART,
    "embeddingModelServingTemplate.resourceLimit.cpu": RESTART,
    "embeddingModelServingTemplate.resourceLimit.memory": RESTART,
    "embeddingModelServingTemplate.resourceLimit.gpu": NO_EFFECT,
    "embeddingModelServingTemplate.resourceRequest.cpu": NO_EFFECT,
    "embeddingModelServingTemplate.resourceRequest.memory": NO_EFFECT,
    "embeddingModelServingTemplate.resourceRequest.gpu": NO_EFFECT,
    "goldenQueries": NEW_GENERATION.saying(
        "The precision is chosen again with these questions. A different precision gives different vectors, so a new generation is built."
    ),
}
