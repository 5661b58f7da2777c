"""What a reset will read, ask, pay for and learn again."""

from dataclasses import dataclass
from pathlib import Path

from headrace.control.reset import Scope, beginning
from headrace.events import codec
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicInfo, TopicLog
from headrace.stages.label.options import LabelOptions
from headrace.stages.stage_spec import StageSpec
from headrace.teachers.answer_store import Kept, kept

WORK = {
    "ingest": "read from the source again", "transform": "read by the query again", "prompt": "turned into prompts again",
    "label": "prompts answered again", "train": "learned again", "index": "embedded again", "sink": "sent again",
    "mirror": "mirrored again",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StageCost:
    """The repeated work of one stage."""

    stage: str
    resource: ResourceId
    reads: dict[str, int]
    """Records in each of its inputs, to be processed again. If a stage upstream recreates them: the present number."""
    lost: dict[str, int]
    """Records of its inputs that retention has dropped; they cannot be read again."""
    truncates: dict[str, int]
    """Records to be deleted, by topic."""
    work: str
    asked: int = 0
    """Prompts that are asked and paid for again."""
    from_cache: int = 0
    """Prompts whose answers are in the cache."""
    tokens: int = 0
    usd: float = 0.0
    """At the average cost of a call of this owner."""


def reset_costs(found: Scope, log: TopicLog, state: Path) -> list[StageCost]:
    """One per stage, in data order."""
    known = {info.spec.name: info for info in log.topics()}
    return [_cost(spec, found, known, log, state) for spec in found.stages]


def _cost(spec: StageSpec, found: Scope, known: dict[str, TopicInfo], log: TopicLog, state: Path) -> StageCost:
    orders = {one.name for one in spec.shares}
    inputs = [known[one.topic] for one in spec.reads if one.topic in known and one.topic not in orders]
    is_asked = isinstance(spec.options, LabelOptions)
    reads = {info.spec.name: _prompts(log, info.spec.name) if is_asked else _held(info) for info in inputs}
    remade = found.truncated
    lost = {info.spec.name: beginning(spec, info, found) for info in inputs if info.spec.name not in remade}
    truncates = {one.name: _held(known[one.name]) for one in spec.writes if one.name in known}
    asked = _asking(spec, sum(reads.values()), state, starts=spec in found.starting)
    return StageCost(
        spec.name, spec.id, reads, {name: count for name, count in lost.items() if count}, truncates,
        WORK.get(spec.kind, "processed again"), *asked,
    )  # fmt: skip


def _prompts(log: TopicLog, topic: str) -> int:
    """Counted one by one, because they cost money; prompts that need no teacher are left out."""
    count = offset = 0
    while records := log.read(topic, offset):
        count += sum(codec.is_data(one) for one in records)
        offset = records[-1].offset + 1
    return count


def _held(info: TopicInfo) -> int:
    return info.end_offset - info.start_offset


def _asking(spec: StageSpec, prompts: int, state: Path, *, starts: bool) -> tuple[int, int, int, float]:
    """Asked, from the cache, tokens, USD."""
    if not isinstance(spec.options, LabelOptions) or spec.options.teacher is None:
        return 0, 0, 0, 0.0
    account = kept(state / "teachers.sqlite", spec.id)
    from_cache = 0 if starts else min(prompts, account.outcomes)
    asked = prompts - from_cache
    return asked, from_cache, *_paid(account, asked)


def _paid(account: Kept, asked: int) -> tuple[int, float]:
    spent = account.spending
    if not spent.calls:
        return 0, 0.0
    share = asked / spent.calls
    return round((spent.input_tokens + spent.output_tokens) * share), spent.usd * share
