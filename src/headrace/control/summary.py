"""The summary of a run, read from the log: the output of `run --until-idle -o json`."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from headrace.events import codec, topics
from headrace.events.decision import Decision
from headrace.events.score import Score
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import Record
from headrace.log.topic_log import TopicLog
from headrace.promotion import registry
from headrace.stages.ingest import stage as ingest
from headrace.stages.stage import read_statuses
from headrace.stages.topology import Topology
from headrace.stages.train.train_state import read_train_state

WINDOW = 500


def read_all(log: TopicLog, topic: str, start: int = 0, step: int = 5_000) -> Iterator[Record]:
    """Every record of a topic from an offset on."""
    while records := log.read(topic, start, max_records=step):
        yield from records
        start = records[-1].offset + 1


def topic_length(log: TopicLog, topic: str) -> int:
    """Records ever appended; 0 if the topic does not exist."""
    return next((info.end_offset for info in log.topics() if info.spec.name == topic), 0)


def model_mean(scores: Sequence[Score], model: str) -> float | None:
    """Share of the scores in which a model was right; None if it scored none of them."""
    hits = [one.exact for score in scores for one in score.models if one.model == model]
    return round(sum(hits) / len(hits), 4) if hits else None


def read_scores(log: TopicLog, finetuner: ResourceId, start: int = 0, limit: int | None = None) -> list[Score]:
    """Scores of examples that were learned from, anchors left out, in order."""
    topic = topics.scores(finetuner)
    if topic_length(log, topic) == 0:
        return []
    found: list[Score] = []
    for record in read_all(log, topic, start):
        if not codec.is_data(record):
            continue
        score = codec.decode(record, Score)
        if not score.anchor:
            found.append(score)
        if limit is not None and len(found) >= limit:
            break
    return found


def read_decisions(log: TopicLog, finetuner: ResourceId) -> list[Decision]:
    topic = topics.decisions(finetuner)
    if topic_length(log, topic) == 0:
        return []
    return [codec.decode(record, Decision) for record in read_all(log, topic) if record.kind == codec.KINDS[Decision]]


def _exact_match(log: TopicLog, one: ResourceId) -> dict[str, float | None]:
    first = read_scores(log, one, limit=WINDOW)
    length = topic_length(log, topics.scores(one))
    last = read_scores(log, one, start=max(0, length - 2 * WINDOW))[-WINDOW:]
    majority = [score.majority_exact for score in last]
    return {
        "first500": model_mean(first, "learner"),
        "last500": model_mean(last, "learner"),
        "served500": model_mean(last, "served"),
        "majority500": round(sum(majority) / len(majority), 4) if majority else None,
    }


def _count(log: TopicLog, topic: str) -> int:
    """Data records of a topic: all, without the stream's own signs and what was redacted."""
    if topic_length(log, topic) == 0:
        return 0
    return sum(codec.is_data(record) for record in read_all(log, topic))


def finetuner_summary(log: TopicLog, one: ResourceId) -> dict[str, Any]:
    """One finetuner's part of the summary."""
    state = read_train_state(log, one)
    found = registry.load(log, one)
    served = found[0].version(found[0].served) if found else None
    dead = [topics.stage_dead(one, stage) for stage in ("transform", "prompt", "label", "train")]
    decisions = read_decisions(log, one)
    return {
        "rows": _count(log, topics.rows(one)),
        "examples": _count(log, topics.examples(one)),
        "deadLetters": sum(topic_length(log, topic) for topic in dead),
        "lateRows": topic_length(log, topics.late(one)),
        "exactMatch": _exact_match(log, one),
        "promotions": [
            msgspec.to_builtins(decision) for decision in decisions if decision.kind in ("promoted", "rolled_back")
        ],
        "rejections": sum(decision.kind == "rejected" for decision in decisions),
        "drifts": [msgspec.to_builtins(decision) for decision in decisions if decision.kind == "drift"],
        "documents": [msgspec.to_builtins(decision) for decision in decisions if decision.kind == "documents"],
        "servedVersion": served.name if served else "v0",
        "weightsSha256": state.weights_sha256 if state else None,
        "servedWeightsSha256": served.weights_sha256 if served else None,
        "trainedOffset": state.offset if state else 0,
    }


def summary(log: TopicLog, topology: Topology) -> dict[str, Any]:
    """Everything a script needs to know after a run."""
    sources = {}
    for spec in topology.of_kind("ingest"):
        state = ingest.read_state(log, spec.id)
        sources[spec.id.short_name] = {
            "rows": state.rows if state else 0, "duplicates": state.duplicates if state else 0,
            "deadLetters": state.dead if state else 0, "finished": bool(state and state.ended),
        }  # fmt: skip
    return {
        "streamConnectors": sources,
        "streamFinetuners": {spec.id.short_name: finetuner_summary(log, spec.id) for spec in topology.of_kind("train")},
        "notReady": [
            {
                "kind": one.id.kind,
                "namespace": one.id.namespace,
                "name": one.id.name,
                "reason": one.reason,
                "message": one.message,
            }
            for one in topology.not_ready
        ],
        "conditions": [
            {"resource": status.resource, "stage": status.stage, **msgspec.to_builtins(condition)}
            for status in read_statuses(log)
            for condition in status.conditions
            if condition.status == "False" and condition.reason not in ("Finished", "Waiting")
        ],
    }
