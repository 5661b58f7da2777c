"""What each stage is opened with: plain data that `kinds/` makes of the resources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headrace.connectors.sink import SinkOptions
from headrace.connectors.source import SourceOptions
from headrace.knowledge.changes import DocumentColumns
from headrace.knowledge.chunking import ChunkOptions
from headrace.knowledge.query import Mode
from headrace.learning.learner import LearnerOptions
from headrace.teachers.teacher import TeacherOptions

Timeline = Literal["arrival", "event"]
Metric = Literal["auto", "fields", "exact", "loss"]


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a role's process may use; None: no limit."""

    cpu: float | None = None
    """cores: threads of the numeric libraries, and CPU affinity where it is whole"""
    memory_bytes: int | None = None
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """One source StreamConnector."""

    source: SourceOptions
    retention_ms: int | None = None
    unique_ids: bool = False
    """Where ids are declared: a repeated id is not taken in again."""


@dataclass(frozen=True, slots=True)
class StreamBinding:
    """A topic of rows under the name that the query uses."""

    name: str
    topic: str
    connector: str
    """The StreamConnector whose schema and event time it has; '' for a finetuner's examples."""
    finetuner: str = ""
    """The finetuner whose `examples` it is (`sourceStreamFinetuner`)."""
    out_of_orderness_ms: int = 0
    """Of a finetuner's examples: what the connector at the root of the chain declares. A connector's own comes with its options."""


@dataclass(frozen=True, slots=True)
class TableBinding:
    """A bounded StreamConnector that a query joins as a static table."""

    name: str
    source: SourceOptions
    valid_from: str | None = None


@dataclass(frozen=True, slots=True)
class TransformOptions:
    """`preProcessingSQL` of one finetuner."""

    namespace: str
    finetuner: str
    sql: str
    streams: tuple[StreamBinding, ...]
    tables: tuple[TableBinding, ...] = ()
    timeline: Timeline = "arrival"
    parallelism: int = 1
    checkpoint_interval_ms: int = 1_000
    memory_bytes: int | None = None
    start_ms: int | None = None
    """Event time from which a query without a state reads its inputs, ms since 1970 UTC; None: from their start."""
    sizes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sizes declared for an engine's own processes, by their keys in `dataProcessorTemplate`, such as 2048m."""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One entry of `promptTemplate`."""

    user_question: str
    system_context: str = ""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """One EmbeddingModel."""

    namespace: str
    name: str
    folder: Path | None = None
    """Of a checkpoint in Hugging Face's layout; None: a service elsewhere answers."""
    url: str = ""
    """Of the service, without `/embeddings`."""
    api_key: str | None = field(default=None, repr=False)
    remote_model: str = ""
    """The model's name there."""
    dimension: int | None = None
    """What the service's vectors must have; None: what its first answer has."""
    replicas: int = 1
    limits: ResourceLimits = ResourceLimits()
    golden: Path | None = None
    """Questions and graded answers that decide the precision; None: Headrace's own."""


@dataclass(frozen=True, slots=True)
class KnowledgeOptions:
    """One KnowledgeBase: how it is indexed and searched."""

    namespace: str
    name: str
    connector: str
    """The StreamConnector whose rows are its documents."""
    embedding: EmbedOptions
    columns: DocumentColumns = DocumentColumns()
    chunking: ChunkOptions = ChunkOptions()
    mode: Mode = "hybrid"
    limit: int = 5
    target_ms: int = 2_000
    history_ms: int = 7_776_000_000
    store: str = "sqlite"
    """The store's technology."""
    url: str = field(default="", repr=False)
    """The store's address, where it is a server."""
    unavailable_timeout_ms: int = 600_000
    """How long a run that ends when it is idle waits for embeddings."""
    finetuners: tuple[str, ...] = ()
    """Those whose versions may have been trained with it."""
    pushed: bool = False
    """The connector reads an inbox, which ingest must have read too before a moment is over."""


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """How rows become prompts."""

    namespace: str
    finetuner: str
    templates: tuple[PromptTemplate, ...]
    sample_ratio: float = 1.0
    ground_truth_column: str | None = None
    chained: bool = False
    """The rows are another finetuner's examples: answer and teacher stand in the columns `answer` and `teacher`."""
    knowledge: KnowledgeOptions | None = None
    knowledge_limit: int = 5
    timeline: Timeline = "arrival"


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """`teacher.budget`; 0: no limit."""

    tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How prompts become examples."""

    namespace: str
    finetuner: str
    teacher: TeacherOptions | None = None
    """None: every prompt carries its ground truth."""
    concurrency: int = 16
    requests_per_minute: float = 0.0
    budget: BudgetOptions = BudgetOptions()
    unavailable_timeout_ms: int = 600_000
    output_max: int = 512


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """`learning.replay`."""

    per_fresh: float = 1.0
    capacity: int = 4096


@dataclass(frozen=True, slots=True)
class AnchorOptions:
    """`promotion.anchors`."""

    max: int = 256
    max_drop: float = 0.02


@dataclass(frozen=True, slots=True)
class PromotionOptions:
    """SEMANTICS §6's block."""

    metric: Metric = "auto"
    candidate_every: int = 256
    alpha: float = 0.05
    max_rows: int = 2000
    anchors: AnchorOptions = AnchorOptions()
    probation_rows: int = 1000
    approval: Literal["auto", "manual"] = "auto"
    keep_versions: int = 5


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One finetuner's learner."""

    namespace: str
    finetuner: str
    learner: LearnerOptions
    input_max: int = 1024
    output_max: int = 256
    replay: ReplayOptions = ReplayOptions()
    promotion: PromotionOptions = PromotionOptions()
    checkpoint_interval_ms: int = 60_000
    seed: int = 0
    teacher: LabelOptions | None = None
    """Asked again on drift, within its budget; None: ground truth comes from the rows."""
    limits: ResourceLimits = ResourceLimits()
    knowledge: KnowledgeOptions | None = None
    """Where prompts that are asked again get their passages."""
    knowledge_limit: int = 5
    timeline: Timeline = "arrival"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A finetuner or a bare BaseModel behind the gateway."""

    namespace: str
    name: str
    base: Path
    base_name: str
    finetuner: str | None = None
    """None: the base alone."""
    replicas: int = 1
    system_context: str = ""
    """Added when the client sends none."""
    input_max: int = 1024
    output_max: int = 256
    limits: ResourceLimits = ResourceLimits()
    knowledge: KnowledgeOptions | None = None
    """Where its answers are grounded."""
    knowledge_limit: int = 5
    user_question: str = ""
    """The template that its questions were trained in."""


@dataclass(frozen=True, slots=True)
class SinkStageOptions:
    """A sink StreamConnector."""

    sink: SinkOptions
    topic: str
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The gateway."""

    models: tuple[ServedModel, ...] = ()
    inboxes: tuple[SourceOptions, ...] = ()
    """Pushed sources whose HTTP door stands here."""
    host: str = "127.0.0.1"
    port: int = 5000
    api_key: str | None = field(default=None, repr=False)
    max_queue: int = 256
    max_batch: int = 16
    embed: tuple[EmbedOptions, ...] = ()
    """Behind `/v1/embeddings`."""
    knowledge: tuple[KnowledgeOptions, ...] = ()
    """Searched at this address."""


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
