"""The block of a StreamFinetuner about what its topics forget."""

from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.kinds.fields import PositiveDurationMs
from headrace.kinds.spec_model import SpecModel


class Retention(SpecModel):
    """How long records are kept after they arrived, never past the slowest reader; left out: without limit."""

    rows: PositiveDurationMs | None = None
    """Rows of the query."""
    late: PositiveDurationMs = DEAD_RETENTION_MS
    """Rows that arrived too late for their window."""
    prompts: PositiveDurationMs | None = None
    """Prompts made from rows."""
    examples: PositiveDurationMs | None = None
    """Prompts with their answers. Older replayed examples cannot be reasked and are dropped once their answers are in doubt."""
    scores: PositiveDurationMs | None = None
    """Scores of each model. Decisions are kept without limit."""
    dead_letters: PositiveDurationMs = DEAD_RETENTION_MS
    """Dead letters of its stages."""
    answers: PositiveDurationMs | None = None
    """The gateway's answers. The topic belongs to the namespace: the longest time declared by one of its finetuners applies."""
    feedback: PositiveDurationMs | None = None
    """Clients' feedback on answers; shared in the same way."""
