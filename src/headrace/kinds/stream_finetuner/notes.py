"""What a person should know about a finetuner that runs: keys without a meaning here, devices that are missing."""

from collections.abc import Iterator
from typing import cast

from headrace.kinds.devices import gpu_missing
from headrace.kinds.planning import Planning
from headrace.kinds.resource import Resource
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.stages.topology import Note
from headrace.streams.stream_engine import EngineCapabilities

FLINK_MEMORY = frozenset({"flinkMemorySize", "managedMemorySize", "processMemorySize"})


def notes(finetuner: Resource, planning: Planning) -> Iterator[Note]:
    """Each note once."""
    spec, engine = cast("StreamFinetunerSpec", finetuner.spec), planning.engine
    template = spec.finetuner_template.data_processor_template
    written = [
        cast("str", info.alias)
        for name, info in type(template).model_fields.items()
        if name in template.model_fields_set
    ]
    if ignored := [key for key in written if key in _without_meaning(engine)]:
        message = f"{', '.join(ignored)} have no effect on the {engine.name} engine"
        yield Note(finetuner.id, "SettingsIgnored", message)
    if spec.finetuner_info.knowledge_base and not spec.asks_for_knowledge:
        message = f"KnowledgeBase/{spec.finetuner_info.knowledge_base} is set, but no prompt uses {{knowledge}}: nothing is retrieved from it"
        yield Note(finetuner.id, "KnowledgeUnused", message)
    yield from _outlived(finetuner, planning)
    yield from gpu_missing(finetuner.id, spec.finetuner_template.finetuner_resources.limits.gpu, planning.gpus)


def _outlived(finetuner: Resource, planning: Planning) -> Iterator[Note]:
    """Where another finetuner of the namespace keeps the shared topics longer."""
    own = cast("StreamFinetunerSpec", finetuner.spec).retention
    for other in planning.siblings(finetuner, "StreamFinetuner"):
        theirs = cast("StreamFinetunerSpec", other.spec).retention
        longer = [
            f"retention.{key}"
            for key, mine, limit in (
                ("answers", own.answers, theirs.answers),
                ("feedback", own.feedback, theirs.feedback),
            )
            if mine is not None and (limit is None or limit > mine)
        ]
        if longer:
            message = f"{' and '.join(longer)} cannot act: StreamFinetuner/{other.name} declares a longer time for topics that the namespace shares"
            yield Note(finetuner.id, "RetentionShared", message)
            return


def _without_meaning(engine: EngineCapabilities) -> frozenset[str]:
    """An engine inside our own process has no processes of Flink's whose memory could be set."""
    return engine.ignored_settings | (FLINK_MEMORY if engine.in_process else frozenset())
