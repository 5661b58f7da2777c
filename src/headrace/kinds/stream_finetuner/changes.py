"""What changing a StreamFinetuner does. The trainer's part is in docs/decisions/0025, the query's in 0023."""

from headrace.kinds.verdict import (
    AT_ONCE,
    NEW_QUERY,
    NEXT_BEGIN,
    NEXT_CANDIDATE,
    NEXT_RECORD,
    NEXT_ROUND,
    NO_EFFECT,
    RESETS,
    RESTART,
    Verdict,
)

_MODEL = RESETS["model"].saying(
    "The model goes on as it began until it is trained again from its base. Versions are kept."
)
_ROWS = RESETS["rows"].saying(
    "The query keeps state of the former source. It must run again over the events that are kept."
)
_PROMPTS = NEXT_RECORD.saying("Acts on rows that come from now on. Prompts and examples that exist stay; `headrace reset --from rows` makes them again.")  # fmt: skip
_TRIAL = AT_ONCE.saying("Acts at once, also on the trial or probation that runs.")
_PROCESSING: dict[str, Verdict] = {
    "knowledgeSearchLimit": _PROMPTS,
    "preProcessingSQL": NEW_QUERY,
    "sampleRatio": _PROMPTS,
    "startTime": NEXT_BEGIN.saying("Acts when the query next begins: after another query or a reset. A query that runs keeps its place."),
}  # fmt: skip
_TEMPLATE: dict[str, Verdict] = {
    "dataProcessorTemplate.checkpointingInterval": AT_ONCE,
    "dataProcessorTemplate.flinkMemorySize": RESTART,
    "dataProcessorTemplate.managedMemorySize": RESTART,
    "dataProcessorTemplate.parallelism": RESTART,
    "dataProcessorTemplate.processMemorySize": RESTART,
    "finetunerResources.limits.cpu": NEXT_ROUND,
    "finetunerResources.limits.gpu": NO_EFFECT,
    "finetunerResources.limits.memory": RESTART,
    "finetunerResources.requests.cpu": NO_EFFECT,
    "finetunerResources.requests.gpu": NO_EFFECT,
    "finetunerResources.requests.memory": NO_EFFECT,
}
_LEARNING: dict[str, Verdict] = {
    "trainer.batchSize": NEXT_ROUND,
    "trainer.epochs": NEXT_ROUND,
    "trainer.gradientAccumulationSteps": NEXT_ROUND,
    "trainer.learningRate": NEXT_ROUND.saying("Acts with the next training round, without a new warm-up."),
    "trainer.useMixedPrecision": NEXT_ROUND,
    "learning.method": _MODEL,
    "learning.optimizer": _MODEL,
    "learning.warmupSteps": NEXT_ROUND,
    "learning.replay.perFresh": NEXT_ROUND,
    "learning.replay.capacity": NEXT_ROUND.saying("Acts with the next round. A smaller one forgets its oldest examples at once."),
    "learning.seed": _MODEL,
}  # fmt: skip
_PROMOTION: dict[str, Verdict] = {
    "promotion.metric": NEXT_CANDIDATE,
    "promotion.candidateEvery": AT_ONCE,
    "promotion.alpha": NEXT_CANDIDATE,
    "promotion.maxRows": _TRIAL,
    "promotion.anchors.max": AT_ONCE,
    "promotion.anchors.maxDrop": _TRIAL,
    "promotion.probationRows": _TRIAL,
    "promotion.approval": _TRIAL,
    "promotion.keepVersions": AT_ONCE,
}
_TEACHER = dict.fromkeys(
    ("concurrency", "requestsPerMinute", "budget.tokens", "budget.usd", "unavailableTimeout", "maxAttempts",
     "answerCache.keep", "answerCache.maxBytes"),
    AT_ONCE,
)  # fmt: skip
_RETENTION = AT_ONCE.saying("Acts at the next trim, also on records that are there. What is gone does not come back.")
_SHARED = AT_ONCE.saying(
    "Acts at the next trim, also on answers that are there. The longest time that a finetuner of the namespace declares acts."
)
VERDICTS: dict[str, Verdict] = {
    "finetunerInfo.baseModel": _MODEL,
    "finetunerInfo.dataSource.sourceStreamConnector": _ROWS,
    "finetunerInfo.dataSource.sourceStreamFinetuner": _ROWS,
    "finetunerInfo.knowledgeBase": _PROMPTS,
    "finetunerInfo.megaModel": NEXT_RECORD.saying("Prompts that wait are asked with it. Committed examples keep their answers; `headrace reset --from labels` asks again."),
    **{f"finetunerTemplate.{key}": verdict for key, verdict in _TEMPLATE.items()},
    **{f"finetunerTemplate.preProcessing.{key}": verdict for key, verdict in _PROCESSING.items()},
    **{f"preProcessing.{key}": verdict for key, verdict in _PROCESSING.items()},
    "ioSequenceLength.inputMax": NEXT_RECORD.saying("Acts on the next example. Examples that wait or are replayed stay as they are."),
    "ioSequenceLength.outputMax": NEXT_RECORD.saying("Acts on the next example and the next answer. Examples that wait or are replayed stay as they are."),
    "promptTemplate.systemContext": _PROMPTS,
    "promptTemplate.userQuestion": _PROMPTS,
    "groundTruth.column": _PROMPTS,
    "timeline": NEW_QUERY,
    **_LEARNING,
    **_PROMOTION,
    **{f"teacher.{key}": verdict for key, verdict in _TEACHER.items()},
    **dict.fromkeys((f"retention.{key}" for key in ("rows", "late", "prompts", "examples", "scores", "deadLetters")), _RETENTION),
    **dict.fromkeys(("retention.answers", "retention.feedback"), _SHARED),
}  # fmt: skip
