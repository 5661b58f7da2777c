"""How rows become prompts."""

from dataclasses import dataclass

from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.foundation.resource_id import ResourceId
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.timeline import Timeline


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One entry of `promptTemplate`."""

    user_question: str
    system_context: str = ""


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """How rows become prompts."""

    id: ResourceId
    """The finetuner."""
    templates: tuple[PromptTemplate, ...]
    sample_ratio: float = 1.0
    ground_truth_column: str | None = None
    chained: bool = False
    """The rows are another finetuner's examples: the columns `answer` and `teacher` hold the answer and its teacher."""
    knowledge: KnowledgeOptions | None = None
    knowledge_limit: int = 5
    timeline: Timeline = "arrival"
    retention_ms: int | None = None
    """How long prompts are kept once every reader has passed them; None: without limit."""
    dead_retention_ms: int = DEAD_RETENTION_MS
