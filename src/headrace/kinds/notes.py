"""What a person should know about resources that run: keys without a meaning here, devices that are missing."""

from collections.abc import Iterator, Sequence
from typing import cast

from headrace.kinds.base_model.spec import BaseModelSpec
from headrace.kinds.knowledge_base.stages import asks_for_knowledge
from headrace.kinds.resource import Resource
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.stages.topology import Note
from headrace.streams.stream_engine import EngineCapabilities

FLINK_MEMORY = frozenset({"flinkMemorySize", "managedMemorySize", "processMemorySize"})


def notes_of(resources: Sequence[Resource], engine: EngineCapabilities, gpus: int) -> tuple[Note, ...]:
    """All notes, in the order of the resources; each is said once."""
    notes: list[Note] = []
    for resource in resources:
        if isinstance(resource.spec, StreamFinetunerSpec):
            notes += _of_finetuner(resource, resource.spec, engine, gpus)
        elif isinstance(resource.spec, BaseModelSpec):
            wanted = resource.spec.base_model_serving_template.resource_limit.gpu
            notes += _gpu(resource, wanted, gpus)
    return tuple(notes)


def _of_finetuner(
    resource: Resource, spec: StreamFinetunerSpec, engine: EngineCapabilities, gpus: int
) -> Iterator[Note]:
    template = spec.finetuner_template.data_processor_template
    written = [
        cast("str", info.alias)
        for name, info in type(template).model_fields.items()
        if name in template.model_fields_set
    ]
    if ignored := [key for key in written if key in _without_meaning(engine)]:
        yield Note(
            *resource.key, "SettingsIgnored", f"{', '.join(ignored)} have no meaning on the {engine.name} engine"
        )
    if spec.finetuner_info.knowledge_base and not asks_for_knowledge(spec):
        message = f"KnowledgeBase/{spec.finetuner_info.knowledge_base} is named and no prompt has {{knowledge}}: nothing is retrieved from it"
        yield Note(*resource.key, "KnowledgeUnused", message)
    yield from _gpu(resource, spec.finetuner_template.finetuner_resources.limits.gpu, gpus)


def _without_meaning(engine: EngineCapabilities) -> frozenset[str]:
    """An engine inside our own process has no processes of Flink's whose memory could be set."""
    return engine.ignored_settings | (FLINK_MEMORY if engine.in_process else frozenset())


def _gpu(resource: Resource, wanted: int, there: int) -> Iterator[Note]:
    if wanted > there:
        found = "none" if there == 0 else f"only {there}"
        message = f"{wanted} gpu wanted and {found} is on this machine: the work is done on the cpu"
        yield Note(*resource.key, "GpuMissing", message)
