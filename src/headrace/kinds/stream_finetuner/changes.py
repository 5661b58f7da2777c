"""What changing a StreamFinetuner costs."""

from headrace.kinds.kind import Cost

_PROCESSING: dict[str, Cost] = {
    "knowledgeSearchLimit": "re-label",
    "preProcessingSQL": "re-run query",
    "sampleRatio": "re-label",
    "startTime": "none",
}
COSTS: dict[str, Cost] = {
    "finetunerInfo": "new base",
    "finetunerInfo.dataSource": "re-run query",
    "finetunerInfo.knowledgeBase": "re-label",
    "finetunerInfo.megaModel": "re-label",
    "finetunerTemplate": "restart",
    "finetunerTemplate.finetunerResources.requests": "none",
    "finetunerTemplate.preProcessing": "re-run query",
    **{f"finetunerTemplate.preProcessing.{key}": cost for key, cost in _PROCESSING.items()},
    "preProcessing": "re-run query",
    **{f"preProcessing.{key}": cost for key, cost in _PROCESSING.items()},
    "ioSequenceLength": "restart",
    "promptTemplate": "re-label",
    "trainer": "restart",
    "groundTruth": "re-label",
    "timeline": "re-run query",
    "learning": "restart",
    "learning.method": "new base",
    "promotion": "restart",
    "teacher": "restart",
}
