"""StreamFinetuner: the continuous fine-tune.

May import kinds' own files, the streams' port and registry, and stages' options. Plans queries; never starts one.
"""

from headrace.kinds.kind import LLM, Kind
from headrace.kinds.stream_finetuner import changes, checks, notes, spec, stages

KIND = Kind(
    "StreamFinetuner",
    "streamfinetuners",
    (LLM,),
    variant=lambda _: spec.StreamFinetunerSpec,
    costs=changes.COSTS,
    check=checks.check,
    plan=stages.plan,
    queries=stages.queries,
    notes=notes.notes,
    free_text=frozenset({"column"}),
)
