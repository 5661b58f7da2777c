"""One learner."""

from dataclasses import dataclass
from typing import Literal

from headrace.learning.learner import LearnerOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.label.options import LabelOptions
from headrace.stages.limits import ResourceLimits
from headrace.stages.timeline import Timeline

Metric = Literal["auto", "fields", "exact", "loss"]


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """`learning.replay`."""

    per_fresh: float = 1.0
    capacity: int = 4096


@dataclass(frozen=True, slots=True)
class AnchorOptions:
    """`promotion.anchors`."""

    max: int = 256
    max_drop: float = 0.02


@dataclass(frozen=True, slots=True)
class PromotionOptions:
    """SEMANTICS §6's block."""

    metric: Metric = "auto"
    candidate_every: int = 256
    alpha: float = 0.05
    max_rows: int = 2000
    anchors: AnchorOptions = AnchorOptions()
    probation_rows: int = 1000
    approval: Literal["auto", "manual"] = "auto"
    keep_versions: int = 5


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One finetuner's learner."""

    namespace: str
    finetuner: str
    learner: LearnerOptions
    input_max: int = 1024
    output_max: int = 256
    replay: ReplayOptions = ReplayOptions()
    promotion: PromotionOptions = PromotionOptions()
    checkpoint_interval_ms: int = 60_000
    seed: int = 0
    teacher: LabelOptions | None = None
    """Asked again on drift, within its budget; None: ground truth comes from the rows."""
    limits: ResourceLimits = ResourceLimits()
    knowledge: KnowledgeOptions | None = None
    """Where prompts that are asked again get their passages."""
    knowledge_limit: int = 5
    timeline: Timeline = "arrival"
    retention_ms: int | None = None
    """For how long scores are kept once every reader has passed them; None: for ever."""
