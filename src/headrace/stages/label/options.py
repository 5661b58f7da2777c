"""How prompts become examples."""

from dataclasses import dataclass

from headrace.teachers.teacher import TeacherOptions


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """`teacher.budget`; 0: no limit."""

    tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How prompts become examples."""

    namespace: str
    finetuner: str
    teacher: TeacherOptions | None = None
    """None: every prompt carries its ground truth."""
    concurrency: int = 16
    requests_per_minute: float = 0.0
    budget: BudgetOptions = BudgetOptions()
    unavailable_timeout_ms: int = 600_000
    output_max: int = 512
    retention_ms: int | None = None
    """For how long examples are kept once every reader has passed them; None: for ever."""
