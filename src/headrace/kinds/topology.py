"""Resources → the options of every stage they need, and what cannot run yet, with the reason."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from headrace.foundation.errors import HeadraceError, InvalidDeclarationError, InvalidQueryError
from headrace.foundation.settings import Settings
from headrace.kinds.base_model.stages import ModelNotFoundError, checkpoint, served_base
from headrace.kinds.devices import gpu_count
from headrace.kinds.embedding_model.stages import embedding
from headrace.kinds.inputs import connectors_of, query_inputs
from headrace.kinds.knowledge_base.spec import KnowledgeBaseSpec
from headrace.kinds.knowledge_base.stages import asks_for_knowledge, knowledge, used_by
from headrace.kinds.mega_model.stages import teacher_options
from headrace.kinds.notes import notes_of
from headrace.kinds.resource import Resource
from headrace.kinds.secrets import SecretNotFoundError, SecretSources
from headrace.kinds.stream_connector import stages as connector_stages
from headrace.kinds.stream_connector.spec import SinkInput, StreamConnectorSpec
from headrace.kinds.stream_finetuner import stages as finetuner_stages
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.label.options import LabelOptions
from headrace.stages.prompt.options import PromptOptions
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.topology import NotReady, Topology
from headrace.stages.train.options import TrainOptions
from headrace.stages.transform.options import TransformOptions
from headrace.streams.registry import open_engine
from headrace.teachers.teacher import TeacherOptions

PUSHED = frozenset({"http"})
"""Source types whose door stands in the gateway."""


class _NotReadyError(Exception):
    """Leaves a resource's translation; becomes its condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(slots=True)
class _Building:
    """What has been translated so far."""

    resources: Mapping[tuple[str, str, str], Resource]
    sources: SecretSources
    environ: Mapping[str, str]
    settings: Settings
    memory_acts: bool
    cores: int
    ingest: list[IngestOptions] = field(default_factory=list[IngestOptions])
    transform: list[TransformOptions] = field(default_factory=list[TransformOptions])
    prompt: list[PromptOptions] = field(default_factory=list[PromptOptions])
    label: list[LabelOptions] = field(default_factory=list[LabelOptions])
    train: list[TrainOptions] = field(default_factory=list[TrainOptions])
    sinks: list[SinkStageOptions] = field(default_factory=list[SinkStageOptions])
    served: list[ServedModel] = field(default_factory=list[ServedModel])
    embed: dict[tuple[str, str], EmbedOptions] = field(default_factory=dict[tuple[str, str], EmbedOptions])
    knowledge: dict[tuple[str, str], KnowledgeOptions] = field(default_factory=dict[tuple[str, str], KnowledgeOptions])
    folders: dict[tuple[str, str], Path] = field(default_factory=dict[tuple[str, str], Path])
    teachers: dict[tuple[str, str], TeacherOptions] = field(default_factory=dict[tuple[str, str], TeacherOptions])
    failed: dict[tuple[str, str, str], NotReady] = field(default_factory=dict[tuple[str, str, str], NotReady])

    def translate(self, resource: Resource) -> None:
        """Adds what one resource needs, or why it cannot run."""
        try:
            _TRANSLATE[resource.kind](self, resource)
        except SecretNotFoundError as error:
            self._fail(resource, "SecretNotFound", str(error))
        except ModelNotFoundError as error:
            self._fail(resource, f"{resource.kind}NotFound", str(error))
        except InvalidQueryError as error:
            self._fail(resource, "QueryInvalid", str(error))
        except _NotReadyError as error:
            self._fail(resource, error.reason, error.message)
        except HeadraceError as error:
            self._fail(resource, "Invalid", str(error))

    def _fail(self, resource: Resource, reason: str, message: str) -> None:
        self.failed[resource.key] = NotReady(*resource.key, reason, message)

    def needed(self, kind: str, namespace: str, name: str) -> Resource:
        """What another resource names. It is not ready where that is not there or not ready itself."""
        found = self.resources.get((kind, namespace, name))
        if found is None:
            raise _NotReadyError(f"{kind}NotFound", f"{kind}/{name} is not applied in namespace {namespace}")
        if failed := self.failed.get(found.key):
            raise _NotReadyError(failed.reason, f"{kind}/{name} is not ready: {failed.message}")
        return found


PRIVATE_LOGS = frozenset({"sqlite"})
"""Logs that processes outside Headrace cannot read."""


def topology(resources: Iterable[Resource], settings: Settings, environ: Mapping[str, str] | None = None) -> Topology:
    """Everything that the resources need, in a fixed order; secrets are in clear in it, so it is never stored or shown."""
    ordered = sorted(resources, key=lambda one: (_ORDER.index(one.kind), one.namespace, one.name))
    environ = os.environ if environ is None else environ
    engine = open_engine(settings.streams, settings.stream_options).capabilities
    if not engine.in_process and settings.log in PRIVATE_LOGS:
        raise InvalidDeclarationError(
            f"the engine {engine.name} cannot read the log on {settings.log}, which lies in a file of this machine",
            where="settings",
            next_step='set log = "kafka", or streams = "duckdb"',
        )
    building = _Building(
        {one.key: one for one in ordered},
        SecretSources(environ, settings.secrets),
        environ,
        settings,
        not engine.in_process,
        len(os.sched_getaffinity(0)),
    )
    for resource in [*_without_finetuners(ordered), *_chained(ordered)]:
        building.translate(resource)
    for resource in ordered:
        if _is_sink(resource):
            building.translate(resource)
    return Topology(
        tuple(building.ingest),
        tuple(building.transform),
        tuple(building.prompt),
        tuple(building.label),
        tuple(building.train),
        tuple(building.sinks),
        ServeOptions(
            tuple(building.served),
            tuple(one.source for one in building.ingest if one.source.type in PUSHED),
            settings.host,
            settings.port,
            settings.api_key,
            embed=tuple(building.embed.values()),
            knowledge=tuple(building.knowledge.values()),
            answers=cast("Any", settings.answers),
        ),
        tuple(building.failed.values()),
        notes_of(ordered, engine, gpu_count()),
        tuple(building.knowledge.values()),
        tuple(building.embed.values()),
        tuple(building.train) if settings.tracking == "mlflow" else (),
    )


def _connector(building: _Building, connector: Resource) -> None:
    spec = cast("StreamConnectorSpec", connector.spec)
    if spec.direction == "source":
        if spec.table is None:
            building.ingest.append(connector_stages.ingest(connector, building.sources))
        else:
            connector_stages.opened_source(connector, building.sources)
        return
    given = cast("SinkInput", spec.input)
    for kind, name in (("StreamFinetuner", given.stream_finetuner), ("StreamConnector", given.stream_connector)):
        if name:
            building.needed(kind, connector.namespace, name)
    building.sinks.append(connector_stages.sink(connector, building.sources))


def _mega_model(building: _Building, model: Resource) -> None:
    building.teachers[model.namespace, model.name] = teacher_options(model, building.sources)


def _base_model(building: _Building, model: Resource) -> None:
    folder = checkpoint(model, building.environ)
    building.folders[model.namespace, model.name] = folder
    building.served.append(served_base(model, folder))


def _embedding_model(building: _Building, model: Resource) -> None:
    building.embed[model.namespace, model.name] = embedding(model, building.sources, building.environ)


def _knowledge_base(building: _Building, base: Resource) -> None:
    spec, namespace = cast("KnowledgeBaseSpec", base.spec), base.namespace
    model = building.needed("EmbeddingModel", namespace, spec.embedding_model)
    connector = building.needed("StreamConnector", namespace, spec.data_source.source_stream_connector)
    pushed = cast("StreamConnectorSpec", connector.spec).type in PUSHED
    building.knowledge[namespace, base.name] = knowledge(
        base, building.embed[namespace, model.name], building.settings, pushed=pushed
    )


def _finetuner(building: _Building, finetuner: Resource) -> None:
    spec = finetuner_stages.spec_of(finetuner)
    info, namespace = spec.finetuner_info, finetuner.namespace
    for kind, name in (
        ("StreamConnector", info.data_source.source_stream_connector),
        ("StreamFinetuner", info.data_source.source_stream_finetuner),
    ):
        if name:
            building.needed(kind, namespace, name)
    base = building.needed("BaseModel", namespace, info.base_model)
    teacher = building.needed("MegaModel", namespace, info.mega_model) if info.mega_model else None
    grounding = _grounding(building, finetuner)
    inputs = query_inputs(finetuner, connectors_of(building.resources.values(), namespace))
    for binding in inputs.streams:
        if binding.connector:
            building.needed("StreamConnector", namespace, binding.connector)
    folder = building.folders[namespace, base.name]
    labelling = finetuner_stages.label(finetuner, building.teachers[namespace, teacher.name] if teacher else None)
    building.transform.append(finetuner_stages.transform(finetuner, inputs, memory_acts=building.memory_acts))
    building.prompt.append(finetuner_stages.prompt(finetuner, grounding))
    building.label.append(labelling)
    building.train.append(finetuner_stages.train(finetuner, folder, labelling, building.cores, grounding))
    building.served.append(finetuner_stages.served(finetuner, base, folder, grounding))


def _grounding(building: _Building, finetuner: Resource) -> KnowledgeOptions | None:
    """The knowledge base that its prompts are filled from; None where no prompt has a place for passages."""
    spec = finetuner_stages.spec_of(finetuner)
    name = spec.finetuner_info.knowledge_base
    if name is None or not asks_for_knowledge(spec):
        return None
    building.needed("KnowledgeBase", finetuner.namespace, name)
    key = finetuner.namespace, name
    building.knowledge[key] = used_by(building.knowledge[key], finetuner.name)
    return building.knowledge[key]


_TRANSLATE = {
    "StreamConnector": _connector,
    "MegaModel": _mega_model,
    "BaseModel": _base_model,
    "EmbeddingModel": _embedding_model,
    "KnowledgeBase": _knowledge_base,
    "StreamFinetuner": _finetuner,
}
_ORDER = tuple(_TRANSLATE)


def _is_sink(resource: Resource) -> bool:
    return isinstance(resource.spec, StreamConnectorSpec) and resource.spec.direction == "sink"


def _without_finetuners(ordered: Sequence[Resource]) -> list[Resource]:
    return [one for one in ordered if one.kind != "StreamFinetuner" and not _is_sink(one)]


def _chained(ordered: Sequence[Resource]) -> list[Resource]:
    """Finetuners, each after the one whose examples it reads; one that stands in a circle comes last and is not ready."""
    waiting = [one for one in ordered if one.kind == "StreamFinetuner"]
    done: list[Resource] = []
    while waiting:
        names = {(one.namespace, one.name) for one in waiting}
        ready = [one for one in waiting if (one.namespace, _reads(one)) not in names]
        if not ready:
            return [*done, *waiting]
        done += ready
        waiting = [one for one in waiting if one not in ready]
    return done


def _reads(finetuner: Resource) -> str | None:
    return finetuner_stages.spec_of(finetuner).finetuner_info.data_source.source_stream_finetuner
