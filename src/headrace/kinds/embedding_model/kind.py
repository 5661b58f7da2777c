"""What the entry point names."""

from headrace.kinds.embedding_model import changes, checks, spec, stages
from headrace.kinds.kind import LLM, Kind

KIND = Kind(
    "EmbeddingModel",
    "embeddingmodels",
    (LLM,),
    variant=lambda _: spec.EmbeddingModelSpec,
    verdicts=lambda _: changes.VERDICTS,
    check=checks.check,
    plan=stages.plan,
)
