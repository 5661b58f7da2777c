"""A StreamFinetuner → the options of transform, prompt, label, train and serve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from headrace.kinds.base_model.spec import BaseModelSpec
from headrace.kinds.base_model.stages import limits as serving_limits
from headrace.kinds.declared_query import DeclaredQuery
from headrace.kinds.inputs import QueryInputs, query_inputs
from headrace.kinds.kind import Draft
from headrace.kinds.planning import Planned, Planning
from headrace.kinds.resource import Resource
from headrace.kinds.stream_finetuner.checks import query_location
from headrace.kinds.stream_finetuner.columns import check_prompts
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.learning.anchors import AnchorOptions
from headrace.learning.learner import LearnerOptions
from headrace.learning.options import LearningOptions
from headrace.learning.replay import ReplayOptions
from headrace.promotion.gate import GateOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.label.options import AnswerCacheOptions, BudgetOptions, LabelOptions
from headrace.stages.label.spec import label_spec
from headrace.stages.limits import ResourceLimits
from headrace.stages.mirror.options import MirrorOptions
from headrace.stages.mirror.spec import mirror_spec
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.spec import prompt_spec
from headrace.stages.serve.options import ServedModel
from headrace.stages.serve.spec import serve_spec
from headrace.stages.timeline import Timeline
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.spec import train_spec
from headrace.stages.transform.options import TransformOptions
from headrace.stages.transform.spec import transform_spec
from headrace.teachers.teacher import TeacherOptions

MAX_DEFAULT_THREADS = 4
"""Small models do not learn faster with more."""


def plan(finetuner: Resource, planning: Planning) -> Planned:
    """Its query, prompts, labels, learner, mirror and served versions."""
    spec = spec_of(finetuner)
    info = spec.finetuner_info
    for kind, name in (
        ("StreamConnector", info.data_source.source_stream_connector),
        ("StreamFinetuner", info.data_source.source_stream_finetuner),
    ):
        if name:
            planning.needed(finetuner, kind, name)
    base = planning.needed(finetuner, "BaseModel", info.base_model)
    folder = planning.provided(finetuner, "BaseModel", info.base_model, Path)
    teacher = planning.provided(finetuner, "MegaModel", info.mega_model, TeacherOptions) if info.mega_model else None
    grounding = _grounding(finetuner, planning)
    (query,) = queries(finetuner)
    inputs = query_inputs(query, planning.resources.values())
    for name in inputs.connectors:
        planning.needed(finetuner, "StreamConnector", name)
    labelling = label(finetuner, teacher)
    memory_acts = not planning.engine.in_process
    trainer = train(finetuner, folder, labelling, planning.cores, grounding)
    mirrored = (mirror_spec(MirrorOptions(finetuner.id)),) if planning.settings.tracking == "mlflow" else ()
    return Planned(
        (
            transform_spec(transform(finetuner, inputs, memory_acts=memory_acts)),
            prompt_spec(prompt(finetuner, grounding)),
            label_spec(labelling),
            train_spec(trainer),
            *mirrored,
            serve_spec(served(finetuner, base, folder, grounding)),
        )
    )


def queries(finetuner: Resource) -> tuple[DeclaredQuery, ...]:
    """`preProcessingSQL`."""
    spec = spec_of(finetuner)
    source = spec.finetuner_info.data_source
    draft = Draft(finetuner.id, dict(finetuner.raw))
    place = query_location(draft) or ("finetunerInfo", "dataSource")
    return (
        DeclaredQuery(
            finetuner.id,
            spec.processing.pre_processing_sql,
            place,
            source.source_stream_connector or "",
            source.source_stream_finetuner or "",
            cast("Timeline", spec.timeline),
            lambda output: check_prompts(draft, output),
        ),
    )


def _grounding(finetuner: Resource, planning: Planning) -> KnowledgeOptions | None:
    """The knowledge base that its prompts are filled from; None where no prompt has a place for passages."""
    spec = spec_of(finetuner)
    name = spec.finetuner_info.knowledge_base
    if name is None or not spec.asks_for_knowledge:
        return None
    return planning.provided(finetuner, "KnowledgeBase", name, KnowledgeOptions)


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
        finetuner.id,
        spec.processing.pre_processing_sql,
        inputs.streams,
        inputs.tables,
        cast("Timeline", spec.timeline),
        template.parallelism,
        memory_bytes=memory if memory_acts else None,
        start_ms=spec.processing.start_time,
        sizes={key: f"{size // 2**20}m" for key, size in sizes.items() if size is not None},
        retention_ms=spec.retention.rows,
        late_retention_ms=spec.retention.late,
        dead_retention_ms=spec.retention.dead_letters,
    )
    return _with_interval(options, template.checkpointing_interval)


def prompt(finetuner: Resource, knowledge: KnowledgeOptions | None) -> PromptOptions:
    """How its rows become prompts, filled from `knowledge` where their templates have a place for it."""
    spec = spec_of(finetuner)
    return PromptOptions(
        finetuner.id,
        tuple(PromptTemplate(entry.user_question, entry.system_context or "") for entry in spec.prompt_template),
        spec.processing.sample_ratio,
        spec.ground_truth.column if spec.ground_truth else None,
        chained=spec.finetuner_info.data_source.source_stream_finetuner is not None,
        knowledge=knowledge,
        knowledge_limit=_passages(spec, knowledge),
        timeline=cast("Timeline", spec.timeline),
        retention_ms=spec.retention.prompts,
        dead_retention_ms=spec.retention.dead_letters,
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
        finetuner.id,
        teacher,
        use.concurrency,
        use.requests_per_minute,
        BudgetOptions(use.budget.tokens, use.budget.usd),
        use.unavailable_timeout,
        2 * spec.io_sequence_length.output_max,
        max_attempts=use.max_attempts,
        answer_cache=AnswerCacheOptions(use.answer_cache.keep, use.answer_cache.max_bytes),
        retention_ms=spec.retention.examples,
        dead_retention_ms=spec.retention.dead_letters,
    )


def train(
    finetuner: Resource, base: Path, labelling: LabelOptions, cores: int, knowledge: KnowledgeOptions | None
) -> TrainOptions:
    """`cores`: what this machine has, used where no limit is declared."""
    spec = spec_of(finetuner)
    given = spec.finetuner_template.finetuner_resources.limits
    promotion = spec.promotion
    options = TrainOptions(
        finetuner.id,
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
        retention_ms=spec.retention.scores,
        dead_retention_ms=spec.retention.dead_letters,
    )
    return _with_interval(options, spec.finetuner_template.data_processor_template.checkpointing_interval)


def served(finetuner: Resource, base: Resource, folder: Path, knowledge: KnowledgeOptions | None) -> ServedModel:
    """The finetuner's versions, under its own name, served as its base says."""
    spec = spec_of(finetuner)
    template = cast("BaseModelSpec", base.spec).base_model_serving_template
    return ServedModel(
        finetuner.id,
        folder,
        base.id,
        template.replicas,
        spec.prompt_template[0].system_context or "",
        spec.io_sequence_length.input_max,
        spec.io_sequence_length.output_max,
        serving_limits(template.resource_limit),
        knowledge,
        _passages(spec, knowledge),
        spec.prompt_template[0].user_question,
        spec.retention.answers,
        spec.retention.feedback,
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
