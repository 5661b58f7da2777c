"""What the entry point names."""

from headrace.kinds.kind import LLM, Kind
from headrace.kinds.mega_model import changes, checks, models, stages

KIND = Kind(
    "MegaModel",
    "megamodels",
    (LLM,),
    variant=models.variant,
    variants=models.providers,
    choose=models.choose,
    verdicts=lambda _: changes.VERDICTS,
    check=checks.check,
    plan=stages.plan,
    own_block=models.TEMPLATE,
)
