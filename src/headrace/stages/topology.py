"""All stages that the applied resources need."""

from dataclasses import dataclass

from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.label.options import LabelOptions
from headrace.stages.prompt.options import PromptOptions
from headrace.stages.serve.options import ServeOptions
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.train.options import TrainOptions
from headrace.stages.transform.options import TransformOptions


@dataclass(frozen=True, slots=True)
class NotReady:
    """A resource that cannot run yet, and why: its stages are left out, its condition says so."""

    kind: str
    namespace: str
    name: str
    reason: str
    """CamelCase, as Kubernetes conditions have it, such as `BaseModelNotFound`."""
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know about a resource that runs all the same, such as a setting without a meaning on this engine."""

    kind: str
    namespace: str
    name: str
    reason: str
    """CamelCase, such as `GpuMissing`."""
    message: str


@dataclass(frozen=True, slots=True)
class Topology:
    """All stages that the applied resources need."""

    ingest: tuple[IngestOptions, ...] = ()
    transform: tuple[TransformOptions, ...] = ()
    prompt: tuple[PromptOptions, ...] = ()
    label: tuple[LabelOptions, ...] = ()
    train: tuple[TrainOptions, ...] = ()
    sinks: tuple[SinkStageOptions, ...] = ()
    serve: ServeOptions = ServeOptions()
    not_ready: tuple[NotReady, ...] = ()
    notes: tuple[Note, ...] = ()
    index: tuple[KnowledgeOptions, ...] = ()
    embed: tuple[EmbedOptions, ...] = ()
    mirror: tuple[TrainOptions, ...] = ()
    """Finetuners whose curves and versions are mirrored for people."""
