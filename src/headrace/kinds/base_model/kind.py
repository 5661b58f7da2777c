"""What the entry point names."""

from headrace.kinds.base_model import changes, checks, spec, stages
from headrace.kinds.kind import LLM, Kind

KIND = Kind(
    "BaseModel",
    "basemodels",
    (LLM,),
    variant=lambda _: spec.BaseModelSpec,
    verdicts=lambda _: changes.VERDICTS,
    check=checks.check,
    plan=stages.plan,
    notes=stages.notes,
)
