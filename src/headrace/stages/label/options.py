"""How prompts become examples."""

from dataclasses import dataclass

from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.teacher import TeacherOptions


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """`teacher.budget`; 0: no limit."""

    tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class AnswerCacheOptions:
    """`teacher.answerCache`: what is kept of the answers to prompts that are committed."""

    keep_ms: int = 90 * 86_400_000
    max_bytes: int = 2**30


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How prompts become examples."""

    id: ResourceId
    """The finetuner."""
    teacher: TeacherOptions | None = None
    """None: every prompt carries its ground truth."""
    concurrency: int = 16
    requests_per_minute: float = 0.0
    budget: BudgetOptions = BudgetOptions()
    unavailable_timeout_ms: int = 600_000
    output_max: int = 512
    retention_ms: int | None = None
    """How long examples are kept once every reader has passed them; None: without limit."""
    max_attempts: int = 5
    """Failures of one prompt, while the teacher answers others, until it becomes a dead letter."""
    retry_seconds: float = 30.0
    """How long one ask is repeated until its failure counts."""
    answer_cache: AnswerCacheOptions = AnswerCacheOptions()
    close_grace_seconds: float = 5.0
    """How long `close` waits for calls that have left, so that their answers are stored."""
    dead_retention_ms: int = DEAD_RETENTION_MS
