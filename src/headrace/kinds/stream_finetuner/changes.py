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
    "The model keeps its former value until it is retrained from its base. Versions are kept."
)
_SOURCE = NEW_QUERY.saying(
    "The query reads the new source from its start, or from preProcessing.startTime, without state of the previous one. A source that it "
    "read before continues where it stopped, unless the query has windows or joins. Earlier rows, and what was learned from them, stay."
)
_PROMPTS = NEXT_RECORD.saying("Acts on new rows. Existing prompts and examples stay; to recreate them, run `headrace reset --from rows`.")  # fmt: skip
_TRIAL = AT_ONCE.saying("Acts at once, also on a running trial or probation.")
_PROCESSING: dict[str, Verdict] = {
    "knowledgeSearchLimit": _PROMPTS,
    "preProcessingSQL": NEW_QUERY,
    "sampleRatio": _PROMPTS,
    "startTime": NEXT_BEGIN.saying("Acts when the query next starts: after a changed query or a reset. A running query keeps its position."),
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
    "learning.replay.capacity": NEXT_ROUND.saying("Acts with the next round. A smaller one drops its oldest examples at once."),
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
_RETENTION = AT_ONCE.saying("Acts at the next trim, also on existing records. Dropped records do not come back.")
_SHARED = AT_ONCE.saying(
    "Acts at the next trim, also on existing answers. The longest time declared by a finetuner of the namespace applies."
)
VERDICTS: dict[str, Verdict] = {
    "finetunerInfo.baseModel": _MODEL,
    "finetunerInfo.dataSource.sourceStreamConnector": _SOURCE,
    "finetunerInfo.dataSource.sourceStreamFinetuner": _SOURCE,
    "finetunerInfo.knowledgeBase": _PROMPTS,
    "finetunerInfo.megaModel": NEXT_RECORD.saying("Waiting prompts are asked with it; if it is removed, groundTruth answers them. Committed examples keep their answers; to ask again, run `headrace reset --from labels`."),
    **{f"finetunerTemplate.{key}": verdict for key, verdict in _TEMPLATE.items()},
    **{f"finetunerTemplate.preProcessing.{key}": verdict for key, verdict in _PROCESSING.items()},
    **{f"preProcessing.{key}": verdict for key, verdict in _PROCESSING.items()},
    "ioSequenceLength.inputMax": NEXT_RECORD.saying("Acts on the next example. Waiting and replayed examples stay as they are."),
    "ioSequenceLength.outputMax": NEXT_RECORD.saying("Acts on the next example and the next answer. Waiting and replayed examples stay as they are."),
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
