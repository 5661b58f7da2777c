"""What the entry point names."""

from headrace.kinds.embedding_model import changes, checks, spec, stages
from headrace.kinds.kind import LLM, Kind

KIND = Kind(
    "EmbeddingModel",
    "embeddingmodels",
    (LLM,),
    variant=lambda _: spec.EmbeddingModelSpec,
    costs=changes.COSTS,
    check=checks.check,
    plan=stages.plan,
)
