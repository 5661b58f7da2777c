"""Walks from an answer, a decision or an example back to the events it came from, and from an event to all it touched."""

from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.control.summary import read_all
from headrace.events import codec
from headrace.events.answer import Answer
from headrace.events.origin import Origin
from headrace.foundation.errors import NotFoundError
from headrace.log.record import Record
from headrace.log.topic_log import TopicLog
from headrace.promotion import registry


def _origin(record: Record) -> Origin:
    """Origins of source records and dead letters may be plain text: the source's own place."""
    try:
        return msgspec.json.decode(record.origin or "{}", type=Origin)
    except msgspec.MsgspecError:
        return Origin(position=record.origin)


def find(log: TopicLog, record_id: str) -> list[tuple[str, Record]]:
    """Every topic that holds a record of that id. NotFoundError where none does."""
    found = [
        (info.spec.name, record) for info in log.topics() if (record := log.find(info.spec.name, record_id)) is not None
    ]
    if not found:
        raise NotFoundError(
            f"no topic holds a record with the id {record_id!r}",
            next_step="`headrace read TOPIC -o json` shows the ids of a topic",
        )
    return found


def backwards(log: TopicLog, topic: str, record: Record) -> Iterator[dict[str, Any]]:
    """The record, what it was made of, and so on to the source."""
    yield describe(topic, record)
    origin = _origin(record)
    if origin.query:
        yield from _window_rows(log, origin)
    elif origin.topic and origin.offset >= 0:
        parents = log.read(origin.topic, origin.offset, max_records=1)
        if parents and parents[0].offset == origin.offset:
            yield from backwards(log, origin.topic, parents[0])
    elif record.kind == codec.KINDS[Answer]:
        yield from _answer_parents(log, topic, codec.decode(record, Answer))


def _answer_parents(log: TopicLog, topic: str, answer: Answer) -> Iterator[dict[str, Any]]:
    """The version that answered and the examples it had learned when it was cut."""
    namespace = topic.partition(".")[0]
    found = registry.load(log, namespace, answer.model.partition("@")[0])
    version = next((one for one in found[0].versions if one.name == answer.version), None) if found else None
    if version is None:
        return
    yield {
        "topic": "registry", "kind": "version", "id": f"{answer.model}@{answer.version}",
        "learnedFrom": {"topic": f"{namespace}.{answer.model.partition('@')[0]}.examples", "offsets": [0, version.cut_offset]},
        "weightsSha256": version.weights_sha256, "parent": version.parent,
    }  # fmt: skip


def _window_rows(log: TopicLog, origin: Origin) -> Iterator[dict[str, Any]]:
    """The rows of a window, found by reading its time again."""
    for topic in origin.topics:
        for record in read_all(log, topic):
            if record.kind == codec.CONTROL or not origin.window_start <= record.event_time < origin.window_end:
                continue
            if origin.key and record.key and record.key not in origin.key.split("/"):
                continue
            yield describe(topic, record)


def forwards(log: TopicLog, record_id: str) -> Iterator[dict[str, Any]]:
    """Everything that was made of a record, stage after stage."""
    touched = {record_id}
    names = [info.spec.name for info in log.topics()]
    order = ("rows", "late", "prompts", "examples", "scores", "answers")
    for suffix in order:
        for name in (n for n in names if n.rpartition(".")[2] == suffix):
            for record in read_all(log, name):
                origin = _origin(record)
                if origin.id in touched or record.id in touched or (record.key and record.key in touched):
                    touched.add(record.id)
                    yield describe(name, record)


def describe(topic: str, record: Record) -> dict[str, Any]:
    """A record as people read it."""
    value = (
        msgspec.json.decode(record.value) if record.value[:1] in (b"{", b"[") else record.value.decode(errors="replace")
    )
    return {
        "topic": topic, "offset": record.offset, "id": record.id, "kind": record.kind, "key": record.key,
        "eventTime": record.event_time, "ingestedAt": record.ingested_at,
        "origin": msgspec.to_builtins(_origin(record)), "value": value,
    }  # fmt: skip
