"""What the entry point names."""

from headrace.kinds.kind import LLM, Kind
from headrace.kinds.knowledge_base import changes, checks, spec, stages

KIND = Kind(
    "KnowledgeBase",
    "knowledgebases",
    (LLM,),
    variant=lambda _: spec.KnowledgeBaseSpec,
    verdicts=lambda _: changes.VERDICTS,
    check=checks.check,
    plan=stages.plan,
    free_text=frozenset({"id", "text", "title", "metadata", "version", "validFrom", "operation", "media"}),
)
