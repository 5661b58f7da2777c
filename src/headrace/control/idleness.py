"""Whether nothing is left to do: every stage has read its topics and finished its own work."""

from collections.abc import Collection, Sequence

from headrace.log.topic_log import TopicLog
from headrace.stages.stage_spec import StageSpec
from headrace.stages.stage_type import IdleQuestion, stage_type


def lags(log: TopicLog, specs: Sequence[StageSpec]) -> dict[str, int]:
    """Records that each stage has still to read, by the stage's name."""
    return _lags(log, specs, {info.spec.name for info in log.topics()})


def _lags(log: TopicLog, specs: Sequence[StageSpec], known: Collection[str]) -> dict[str, int]:
    """`known`: the topics that exist."""
    # Offsets before ends: a reader at an end that is looked up afterwards was there at that moment, all readers at once.
    read = [
        (spec.name, one.topic, log.offset(spec.name, one.topic))
        for spec in specs
        for one in spec.reads
        if one.topic in known
    ]
    ends = {info.spec.name: info.end_offset for info in log.topics()}
    result: dict[str, int] = {}
    for name, topic, offset in read:
        result[name] = result.get(name, 0) + max(0, ends[topic] - offset)
    return result


def is_idle(log: TopicLog, specs: Sequence[StageSpec], holder: str) -> bool:
    """True once nothing can change any more without a new record from outside; `holder`: whose ingest must have seen the end."""
    question = IdleQuestion(log, specs, holder)
    if not all(stage_type(one.kind).is_idle(one, question) for one in specs):
        return False
    known = {info.spec.name for info in log.topics()}
    if any(read.topic not in known for one in specs for read in one.reads):
        return False
    return not any(_lags(log, specs, known).values())
