"""What changing a BaseModel does."""

from headrace.kinds.verdict import NO_EFFECT, RESETS, RESTART, Verdict

_BASE = RESETS["model"].saying(
    "Finetuners that tune it must be retrained from the new base. Versions are kept. The base itself is served at once."
)
VERDICTS: dict[str, Verdict] = {
    "baseModelName": NO_EFFECT,
    "baseModelServingInfo.hfModelId": _BASE,
    "baseModelServingInfo.path": _BASE.saying(
        "A folder with other content needs a reset of the finetuners that tune it. The base itself is served at once."
    ),
    "baseModelServingInfo.modelProvider": NO_EFFECT,
    "baseModelServingInfo.modelProviderToken": NO_EFFECT,
    "baseModelServingTemplate.replicas": RESTART,
    "baseModelServingTemplate.resourceLimit.cpu": RESTART,
    "baseModelServingTemplate.resourceLimit.memory": RESTART,
    "baseModelServingTemplate.resourceLimit.gpu": NO_EFFECT,
    "baseModelServingTemplate.resourceRequest.cpu": NO_EFFECT,
    "baseModelServingTemplate.resourceRequest.memory": NO_EFFECT,
    "baseModelServingTemplate.resourceRequest.gpu": NO_EFFECT,
}
