"""The blocks of a StreamFinetuner about promotion and its teacher (SEMANTICS §6)."""

from typing import Annotated

from headrace.kinds.fields import Count, DurationMs, Memory, NonNegative, Ratio, Whole, words
from headrace.kinds.spec_model import SpecModel


class Anchors(SpecModel):
    """Examples that are never trained on, by hash of the root event's id."""

    max: Whole = 256
    """Maximum number of anchors."""
    max_drop: NonNegative = 0.02
    """How far a candidate may fall behind the served version on the anchors."""


class Promotion(SpecModel):
    """When a candidate is served."""

    metric: Annotated[str, words("auto", "fields", "exact", "loss")] = "auto"
    """fields: mean over the fields of JSON answers, exact: exact match, loss: clipped difference of loss, auto: chosen from the answers."""
    candidate_every: Count = 256
    """Examples between two candidates, when none is on trial."""
    alpha: Ratio = 0.05
    """Probability, over all candidates, of promoting one that is no better."""
    max_rows: Count = 2000
    """Rows after which a candidate that has not won is rejected."""
    anchors: Anchors = Anchors()
    """Examples that are never trained on, by hash of the root event's id."""
    probation_rows: Whole = 1000
    """Rows for which the previous version is still scored after a promotion."""
    approval: Annotated[str, words("auto", "manual")] = "auto"
    """manual: a winning candidate waits for `headrace promote`."""
    keep_versions: Count = 5
    """Number of versions kept on disk."""


class Budget(SpecModel):
    """What the teacher may cost."""

    tokens: Whole = 0
    """Tokens in and out, in all; 0: no limit."""
    usd: NonNegative = 0.0
    """US dollars in all, by the MegaModel's price; 0: no limit."""


class AnswerCache(SpecModel):
    """How long answers stay cached after their prompts are committed. Answers that a waiting prompt needs always stay."""

    keep: DurationMs = 90 * 86_400_000
    """Maximum age of a cached answer."""
    max_bytes: Memory = 2**30
    """Maximum size of cached answers; the oldest go first."""


class TeacherUse(SpecModel):
    """How the MegaModel is asked."""

    concurrency: Count = 16
    """Maximum number of calls in flight."""
    requests_per_minute: NonNegative = 0.0
    """Calls per minute; 0: as many as the provider allows."""
    budget: Budget = Budget()
    """What the teacher may cost."""
    unavailable_timeout: DurationMs = 600_000
    """How long `--until-idle` waits for a teacher that does not answer."""
    max_attempts: Count = 5
    """Failures of one prompt, while the teacher answers others, before it becomes a dead letter. Outages do not count."""
    answer_cache: AnswerCache = AnswerCache()
    """How long answers stay cached after their prompts are committed."""
