"""EmbeddingModel: turns text into vectors.

May import kinds' own files and foundation. Parsed, validated and referenced; nothing runs it yet.
"""

from headrace.kinds.embedding_model import changes, checks, spec
from headrace.kinds.kind import LLM, Kind

KIND = Kind(
    "EmbeddingModel",
    "embeddingmodels",
    (LLM,),
    variant=lambda _: spec.EmbeddingModelSpec,
    costs=changes.COSTS,
    check=checks.check,
)
