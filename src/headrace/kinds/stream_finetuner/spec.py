"""What a StreamFinetuner declares: seed 000's keys, and SEMANTICS §6's block."""

from typing import Annotated

from pydantic import Field

from headrace.kinds.fields import (
    Count,
    Cpu,
    Flag,
    FlinkMemory,
    Memory,
    MomentMs,
    Name,
    NonNegative,
    Positive,
    PositiveDurationMs,
    Ratio,
    Refers,
    Text,
    Whole,
    words,
)
from headrace.kinds.spec_model import SpecModel
from headrace.kinds.stream_finetuner.judgement import Promotion, TeacherUse
from headrace.kinds.stream_finetuner.retention import Retention

KNOWLEDGE = "{knowledge}"


class DataSource(SpecModel):
    """What it learns from: one of the two."""

    source_stream_connector: Annotated[Name, Refers("StreamConnector")] | None = None
    """The StreamConnector that the query reads as `source_stream`."""
    source_stream_finetuner: Annotated[Name, Refers("StreamFinetuner")] | None = None
    """Another finetuner whose examples, answers included, the query reads as `source_stream`; nothing is labelled again."""


class FinetunerInfo(SpecModel):
    """Base model, data source and teacher."""

    base_model: Annotated[Name, Refers("BaseModel")]
    """The BaseModel that is tuned."""
    data_source: DataSource
    """What it learns from."""
    knowledge_base: Annotated[Name, Refers("KnowledgeBase")] | None = None
    """The KnowledgeBase whose passages replace `{knowledge}` in a prompt."""
    mega_model: Annotated[Name, Refers("MegaModel")] | None = None
    """The MegaModel that answers each prompt; alternatively, `groundTruth` names a column."""


class DataProcessorTemplate(SpecModel):
    """How the stream engine runs the query."""

    checkpointing_interval: PositiveDurationMs | None = None
    """Longest time between two durable steps of the query and of the learner. Default: 1s and 60s."""
    flink_memory_size: FlinkMemory | None = None
    """Memory of Flink's task managers without the JVM's own, such as 8192m; no effect on the embedded engine."""
    managed_memory_size: FlinkMemory | None = None
    """Flink's managed memory; no effect on the embedded engine."""
    parallelism: Count = 1
    """Threads (embedded) or subtasks (Flink) of the query."""
    process_memory_size: FlinkMemory | None = None
    """Total memory of Flink's processes; no effect on the embedded engine."""


class Resources(SpecModel):
    """cpu, memory, gpu."""

    cpu: Cpu | None = None
    """Cores, such as 8000m or 8: threads of the learner."""
    gpu: Whole = 0
    """Graphics processors."""
    memory: Memory | None = None
    """Memory, such as 24Gi."""


class FinetunerResources(SpecModel):
    """What the learner's process may use."""

    limits: Resources = Resources()
    """Upper limit. Default: up to four of the machine's cores, unlimited memory."""
    requests: Resources = Resources()
    """What it requests from a cluster; on one machine only the limits act."""


class PreProcessing(SpecModel):
    """How events become rows."""

    knowledge_search_limit: Count = 5
    """Passages retrieved per row."""
    pre_processing_sql: Text = Field("SELECT * FROM source_stream", alias="preProcessingSQL")
    """One SELECT over `source_stream` and the namespace's other StreamConnectors."""
    start_time: MomentMs | None = None
    """Event time from which the query reads its sources when it starts: the first time, and after a change that cannot take over its state. Default: from their start."""
    sample_ratio: Ratio = 1.0
    """Share of the rows that become prompts, chosen by a hash of their id, so that a replay chooses the same rows."""


class FinetunerTemplate(SpecModel):
    """Resources and processing."""

    data_processor_template: DataProcessorTemplate = DataProcessorTemplate()
    """How the stream engine runs the query."""
    finetuner_resources: FinetunerResources = FinetunerResources()
    """What the learner's process may use."""
    pre_processing: PreProcessing | None = None
    """How events become rows; may also be declared directly under `spec`."""


class SequenceLength(SpecModel):
    """Lengths in tokens of the base model."""

    input_max: Count = 1024
    """Longest prompt; passages are left out until it fits."""
    output_max: Count = 256
    """Longest answer; a longer one is a dead letter."""


class PromptEntry(SpecModel):
    """One prompt of each row."""

    system_context: Text | None = None
    """The system message."""
    user_question: Text
    """The user's message; `{column}` fills in a column of the row, `{knowledge}` the retrieved passages."""


class Trainer(SpecModel):
    """How it learns."""

    batch_size: Count = 8
    """Fresh examples per micro-batch."""
    epochs: Count = 1
    """How often each round is repeated, with newly drawn replay."""
    gradient_accumulation_steps: Count = 1
    """Micro-batches per optimiser step; a round is batchSize × this many fresh examples."""
    learning_rate: Positive = 5e-5
    """Learning rate after the warm-up, on AdamW's scale for every optimiser."""
    use_mixed_precision: Flag = False
    """Computes in bfloat16 where that is safe."""


class GroundTruth(SpecModel):
    """Answers that are known already."""

    column: Text
    """Column of the row with the answer."""


class Replay(SpecModel):
    """Old examples learned again beside the fresh ones."""

    per_fresh: NonNegative = 1.0
    """Replayed examples per fresh one."""
    capacity: Whole = 4096
    """Number of examples kept for replay."""


class Learning(SpecModel):
    """The method."""

    method: Annotated[str, words("auto", "full", "lora")] = "auto"
    """full: all weights, lora: low-rank adapters, auto: full below 50 M parameters, LoRA above."""
    optimizer: Annotated[str, words("auto", "adamw", "muon")] = "auto"
    """auto: Muon for matrices where the method is full, AdamW else."""
    warmup_steps: Whole = 20
    """Steps over which the learning rate rises, at the start and after drift."""
    replay: Replay = Replay()
    """Old examples learned again beside the fresh ones."""
    seed: Whole = 0
    """Random seed."""


class StreamFinetunerSpec(SpecModel):
    """The continuous fine-tune."""

    finetuner_info: FinetunerInfo
    """Base model, data source and teacher."""
    finetuner_template: FinetunerTemplate = FinetunerTemplate()
    """Resources and processing."""
    pre_processing: PreProcessing | None = None
    """How events become rows; the same as `finetunerTemplate.preProcessing`."""
    io_sequence_length: SequenceLength = SequenceLength()
    """Lengths in tokens of the base model."""
    prompt_template: Annotated[tuple[PromptEntry, ...], Field(min_length=1)]
    """Each entry makes one example from each row."""
    trainer: Trainer = Trainer()
    """How it learns."""
    ground_truth: GroundTruth | None = None
    """Known answers, instead of `megaModel`."""
    timeline: Annotated[str, words("arrival", "event")] = "arrival"
    """Clock of `now()` and retrieval: arrival (when a row came in) or event (the stream's own time, for replays of history)."""
    learning: Learning = Learning()
    """The method."""
    promotion: Promotion = Promotion()
    """When a candidate is promoted."""
    teacher: TeacherUse = TeacherUse()
    """How the MegaModel is called."""
    retention: Retention = Retention()
    """How long its topics keep their records."""

    @property
    def processing(self) -> PreProcessing:
        """`preProcessing`, wherever it stands."""
        return self.pre_processing or self.finetuner_template.pre_processing or PreProcessing.model_validate({})

    @property
    def asks_for_knowledge(self) -> bool:
        """Whether a prompt uses `{knowledge}`."""
        return any(
            KNOWLEDGE in text
            for entry in self.prompt_template
            for text in (entry.user_question, entry.system_context or "")
        )
