"""BaseModel: the small model that learns and is served.

May import kinds' own files, foundation and stages' options. Looks at local files only; never downloads.
"""

from headrace.kinds.base_model import changes, checks, spec, stages
from headrace.kinds.kind import LLM, Kind

KIND = Kind(
    "BaseModel",
    "basemodels",
    (LLM,),
    variant=lambda _: spec.BaseModelSpec,
    costs=changes.COSTS,
    check=checks.check,
    plan=stages.plan,
    notes=stages.notes,
)
