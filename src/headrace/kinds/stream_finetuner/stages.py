"""A StreamFinetuner → the options of transform, prompt, label, train and serve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from headrace.kinds.base_model.spec import BaseModelSpec
from headrace.kinds.base_model.stages import limits as serving_limits
from headrace.kinds.inputs import QueryInputs
from headrace.kinds.resource import Resource
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.learning.anchors import AnchorOptions
from headrace.learning.learner import LearnerOptions
from headrace.learning.options import LearningOptions
from headrace.learning.replay import ReplayOptions
from headrace.promotion.gate import GateOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.label.options import BudgetOptions, LabelOptions
from headrace.stages.limits import ResourceLimits
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.serve.options import ServedModel
from headrace.stages.timeline import Timeline
from headrace.stages.train.options import TrainOptions
from headrace.stages.transform.options import TransformOptions
from headrace.teachers.teacher import TeacherOptions

MAX_DEFAULT_THREADS = 4
"""Small models do not learn faster with more."""


def spec_of(finetuner: Resource) -> StreamFinetunerSpec:
    return cast("StreamFinetunerSpec", finetuner.spec)


def transform(finetuner: Resource, inputs: QueryInputs, *, memory_acts: bool) -> TransformOptions:
    """`memory_acts`: whether Flink's memory sizes mean anything on the chosen engine."""
    spec = spec_of(finetuner)
    template = spec.finetuner_template.data_processor_template
    memory = template.process_memory_size or template.flink_memory_size or template.managed_memory_size
    sizes = {
        "processMemorySize": template.process_memory_size, "flinkMemorySize": template.flink_memory_size,
        "managedMemorySize": template.managed_memory_size,
    }  # fmt: skip
    options = TransformOptions(
        finetuner.namespace,
        finetuner.name,
        spec.processing.pre_processing_sql,
        inputs.streams,
        inputs.tables,
        cast("Timeline", spec.timeline),
        template.parallelism,
        memory_bytes=memory if memory_acts else None,
        start_ms=spec.processing.start_time,
        sizes={key: f"{size // 2**20}m" for key, size in sizes.items() if size is not None},
    )
    return _with_interval(options, template.checkpointing_interval)


def prompt(finetuner: Resource, knowledge: KnowledgeOptions | None) -> PromptOptions:
    """How its rows become prompts, filled from `knowledge` where their templates have a place for it."""
    spec = spec_of(finetuner)
    return PromptOptions(
        finetuner.namespace,
        finetuner.name,
        tuple(PromptTemplate(entry.user_question, entry.system_context or "") for entry in spec.prompt_template),
        spec.processing.sample_ratio,
        spec.ground_truth.column if spec.ground_truth else None,
        chained=spec.finetuner_info.data_source.source_stream_finetuner is not None,
        knowledge=knowledge,
        knowledge_limit=_passages(spec, knowledge),
        timeline=cast("Timeline", spec.timeline),
    )


def _passages(spec: StreamFinetunerSpec, knowledge: KnowledgeOptions | None) -> int:
    """`knowledgeSearchLimit` where it is written, else what the knowledge base says."""
    processing = spec.processing
    if knowledge is None or "knowledge_search_limit" in processing.model_fields_set:
        return processing.knowledge_search_limit
    return knowledge.limit


def label(finetuner: Resource, teacher: TeacherOptions | None) -> LabelOptions:
    """A teacher counts tokens of its own, so it may write twice as many as the small model's answer may have."""
    spec = spec_of(finetuner)
    use = spec.teacher
    return LabelOptions(
        finetuner.namespace,
        finetuner.name,
        teacher,
        use.concurrency,
        use.requests_per_minute,
        BudgetOptions(use.budget.tokens, use.budget.usd),
        use.unavailable_timeout,
        2 * spec.io_sequence_length.output_max,
    )


def train(
    finetuner: Resource, base: Path, labelling: LabelOptions, cores: int, knowledge: KnowledgeOptions | None
) -> TrainOptions:
    """`cores`: what this machine has, used where no limit is declared."""
    spec = spec_of(finetuner)
    given = spec.finetuner_template.finetuner_resources.limits
    promotion = spec.promotion
    options = TrainOptions(
        finetuner.namespace,
        finetuner.name,
        LearningOptions(
            _learner(spec, base, given.cpu, cores),
            spec.io_sequence_length.input_max,
            spec.io_sequence_length.output_max,
            ReplayOptions(spec.learning.replay.per_fresh, spec.learning.replay.capacity),
            AnchorOptions(promotion.anchors.max),
        ),
        GateOptions(
            promotion.candidate_every,
            promotion.alpha,
            promotion.max_rows,
            promotion.anchors.max_drop,
            promotion.probation_rows,
            cast("Any", promotion.approval),
        ),
        cast("Any", promotion.metric),
        promotion.keep_versions,
        teacher=labelling if labelling.teacher else None,
        limits=ResourceLimits(given.cpu, given.memory, given.gpu),
        knowledge=knowledge,
        knowledge_limit=_passages(spec, knowledge),
        timeline=cast("Timeline", spec.timeline),
    )
    return _with_interval(options, spec.finetuner_template.data_processor_template.checkpointing_interval)


def served(finetuner: Resource, base: Resource, folder: Path, knowledge: KnowledgeOptions | None) -> ServedModel:
    """The finetuner's versions, under its own name, served as its base says."""
    spec = spec_of(finetuner)
    template = cast("BaseModelSpec", base.spec).base_model_serving_template
    return ServedModel(
        finetuner.namespace,
        finetuner.name,
        folder,
        base.name,
        finetuner.name,
        template.replicas,
        spec.prompt_template[0].system_context or "",
        spec.io_sequence_length.input_max,
        spec.io_sequence_length.output_max,
        serving_limits(template.resource_limit),
        knowledge,
        _passages(spec, knowledge),
        spec.prompt_template[0].user_question,
    )


def _learner(spec: StreamFinetunerSpec, base: Path, cpu: float | None, cores: int) -> LearnerOptions:
    trainer, learning = spec.trainer, spec.learning
    threads = max(1, min(int(cpu), cores)) if cpu is not None else min(cores, MAX_DEFAULT_THREADS)
    return LearnerOptions(
        base,
        cast("Any", learning.method),
        cast("Any", learning.optimizer),
        trainer.learning_rate,
        learning.warmup_steps,
        trainer.batch_size,
        trainer.gradient_accumulation_steps,
        trainer.epochs,
        trainer.use_mixed_precision,
        threads,
        learning.seed,
    )


def _with_interval(options: Any, interval_ms: int | None) -> Any:
    from dataclasses import replace

    changed: Mapping[str, int] = {} if interval_ms is None else {"checkpoint_interval_ms": interval_ms}
    return replace(options, **changed)
