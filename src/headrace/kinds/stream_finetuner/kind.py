"""What the entry point names."""

from headrace.kinds.kind import LLM, Kind
from headrace.kinds.stream_finetuner import changes, checks, notes, spec, stages

KIND = Kind(
    "StreamFinetuner",
    "streamfinetuners",
    (LLM,),
    variant=lambda _: spec.StreamFinetunerSpec,
    verdicts=lambda _: changes.VERDICTS,
    check=checks.check,
    plan=stages.plan,
    queries=stages.queries,
    notes=notes.notes,
    free_text=frozenset({"column"}),
)
