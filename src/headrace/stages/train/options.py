"""One trainer: the options of the rooms that it joins, and its own."""

from dataclasses import dataclass

from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.foundation.resource_id import ResourceId
from headrace.learning.options import LearningOptions
from headrace.promotion.gate import GateOptions
from headrace.promotion.metric import MetricChoice
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.label.options import LabelOptions
from headrace.stages.limits import ResourceLimits
from headrace.stages.timeline import Timeline


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One finetuner's learner."""

    id: ResourceId
    """The finetuner."""
    learning: LearningOptions
    gate: GateOptions = GateOptions()
    metric: MetricChoice = "auto"
    keep_versions: int = 5
    checkpoint_interval_ms: int = 60_000
    teacher: LabelOptions | None = None
    """Reasked on drift, within its budget; None: ground truth comes from the rows."""
    limits: ResourceLimits = ResourceLimits()
    knowledge: KnowledgeOptions | None = None
    """Where reasked prompts get their passages."""
    knowledge_limit: int = 5
    timeline: Timeline = "arrival"
    retention_ms: int | None = None
    """How long scores are kept once every reader has passed them; None: without limit."""
    dead_retention_ms: int = DEAD_RETENTION_MS
