"""What the entry point names."""

from headrace.kinds.kind import LLM, STREAMS, Kind
from headrace.kinds.stream_connector import changes, checks, models, spec, stages

KIND = Kind(
    "StreamConnector",
    "streamconnectors",
    (LLM, STREAMS),
    variant=models.variant,
    variants=models.variants,
    choose=models.choose,
    verdicts=changes.verdicts,
    check=checks.check,
    plan=stages.plan,
    own_block=spec.OPTIONS,
    free_text=frozenset({"*"}),
)
