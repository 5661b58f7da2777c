"""KnowledgeBase: documents kept searchable as they change.

May import kinds' own files, stages' options and foundation. What keeps it is the role `index`.
"""

from headrace.kinds.kind import LLM, Kind
from headrace.kinds.knowledge_base import changes, checks, spec, stages

KIND = Kind(
    "KnowledgeBase",
    "knowledgebases",
    (LLM,),
    variant=lambda _: spec.KnowledgeBaseSpec,
    costs=changes.COSTS,
    check=checks.check,
    plan=stages.plan,
    free_text=frozenset({"id", "text", "title", "metadata", "version", "validFrom", "operation", "media"}),
)
