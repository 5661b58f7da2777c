"""The block of a StreamFinetuner about what its topics forget."""

from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.kinds.fields import PositiveDurationMs
from headrace.kinds.spec_model import SpecModel


class Retention(SpecModel):
    """How long records are kept after they arrived, never past the slowest reader; left out: without limit."""

    rows: PositiveDurationMs | None = None
    """Rows that the query gave."""
    late: PositiveDurationMs = DEAD_RETENTION_MS
    """Rows that came too late for their window."""
    prompts: PositiveDurationMs | None = None
    """Prompts that were made of rows."""
    examples: PositiveDurationMs | None = None
    """Prompts with their answers. Replayed examples that are older cannot be reasked: they are dropped once their answers are in doubt."""
    scores: PositiveDurationMs | None = None
    """What each model got right. Decisions are kept without limit."""
    dead_letters: PositiveDurationMs = DEAD_RETENTION_MS
    """Dead letters of its stages."""
    answers: PositiveDurationMs | None = None
    """What the gateway answered. The topic belongs to the namespace: the longest time that one of its finetuners declares acts."""
    feedback: PositiveDurationMs | None = None
    """What clients said about answers; shared in the same way."""
