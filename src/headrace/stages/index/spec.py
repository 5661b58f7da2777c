"""What keeps one knowledge base, described and opened."""

from headrace.events import topics
from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.log.topic_log import TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import IdleQuestion, StageType


def index_spec(options: KnowledgeOptions) -> StageSpec:
    """Of a KnowledgeBase."""
    store = f"knowledge/{options.id.path_name}.sqlite"
    return StageSpec(
        "index",
        options.id,
        options,
        reads=(Read(topics.events(options.source), until="caught up"),),
        passes=(topics.canaries(options.id),),
        writes=topics_of(options),
        holds=(store, f"{store}-wal", f"{store}-shm") if options.store == "sqlite" else (),
    )


def topics_of(options: KnowledgeOptions) -> tuple[TopicSpec, ...]:
    """Canaries, dead letters."""
    return (
        TopicSpec(topics.canaries(options.id), retention_ms=0),
        TopicSpec(
            topics.stage_dead(options.id, "index"),
            retention_ms=DEAD_RETENTION_MS,
            unique_ids=True,
        ),
    )


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.index.stage import IndexStage

    assert isinstance(spec.options, KnowledgeOptions)
    return IndexStage(spec.options, context.log, context.holder, context.state, context.clock)


def _is_idle(spec: StageSpec, question: IdleQuestion) -> bool:
    from headrace.stages.index.stage import read_index_state

    assert isinstance(spec.options, KnowledgeOptions)
    said = read_index_state(question.log, spec.options)
    return said is not None and not said.building


def _empty(spec: StageSpec, context: StageContext, *, starts: bool) -> None:  # noqa: ARG001 - the same wherever a reset begins
    """Deletes every document and vector in place; searches see it at once."""
    from headrace.knowledge.registry import open_store
    from headrace.stages.index.stage import store_options

    assert isinstance(spec.options, KnowledgeOptions)
    store = open_store(spec.options.store, store_options(spec.options, context.state))
    try:
        store.clear(store.acquire(context.holder))
    finally:
        store.close()


def _purge(spec: StageSpec, context: StageContext) -> int:
    """Approximate indexes beside the store's file; on a server, what its tables hold."""
    assert isinstance(spec.options, KnowledgeOptions)
    if spec.options.store != "sqlite":
        _empty(spec, context, starts=True)
        return 0
    freed = 0
    for saved in (context.state / "knowledge").glob(f"{spec.id.path_name}.*.usearch*"):
        freed += saved.stat().st_size
        saved.unlink()
    return freed


STAGE = StageType(_open, is_idle=_is_idle, empty=_empty, purge=_purge)
