"""Traces an answer, a decision or an example back to its events, and an event or a document to everything made from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from headrace.control.summary import read_all
from headrace.events import codec, topics
from headrace.events.answer import Answer
from headrace.events.control import cites
from headrace.events.example import Example
from headrace.events.origin import Origin
from headrace.events.prompt import Prompt
from headrace.foundation.errors import NotFoundError
from headrace.foundation.ids import parted
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import Record
from headrace.log.topic_log import TopicInfo, TopicLog
from headrace.promotion import registry

CITED_AT_MOST = 50
"""Examples and answers shown for a document."""
SCANNED_AT_MOST = 100_000
"""Records at the end of a topic that are searched for them."""
_WITH_PASSAGES = {codec.KINDS[kind] for kind in (Prompt, Example, Answer)}


class _Cited(msgspec.Struct, frozen=True):
    """What names a passage."""

    document: str
    version: str
    chunk: int


class _Citing(msgspec.Struct, frozen=True):
    """What prompts, examples and answers say of their passages."""

    passages: list[_Cited] = []


def topics_of(log: TopicLog, namespace: str | None) -> list[TopicInfo]:
    """The topics of a namespace; None: all."""
    return [one for one in log.topics() if namespace is None or one.spec.name.startswith(f"{namespace}.")]


def trace(log: TopicLog, name: str, namespace: str | None = None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Where a record came from, and what was made of it. `name`: a record's id, or DOCUMENT or DOCUMENT@VERSION.

    Of a document: the examples and answers that cite it, newest first. `namespace`: where to look; None: in each separately,
    because equal names in two namespaces are different things. NotFoundError if nothing has the name.
    """
    cited = citing(log, name, namespace=namespace)
    try:
        found = find(log, name, namespace)
    except NotFoundError:
        if not cited:
            raise
        return [], cited
    came_from: list[dict[str, Any]] = []
    for topic, record in found:
        came_from += [step for step in backwards(log, topic, record) if step not in came_from]
    return came_from, [*(step for step in forwards(log, name, namespace) if step not in came_from), *cited]


def citing(
    log: TopicLog, document: str, limit: int = CITED_AT_MOST, *, namespace: str | None = None
) -> list[dict[str, Any]]:
    """The newest examples and answers, newest first, whose passages come from a document or from one version of it.

    `document`: its id, or its id, `@` and the version. Looks at the newest records of each topic, not at all of a long one.
    """
    found: list[tuple[str, Record]] = []
    for info in topics_of(log, namespace):
        if info.spec.name.rpartition(".")[2] in ("examples", "answers"):
            topic = info.spec.name
            matches = (one for one in _newest_first(log, topic, info.end_offset) if _cites(one, document))
            found += [(topic, one) for one in islice(matches, limit)]
    found.sort(key=lambda one: one[1].ingested_at, reverse=True)
    return [describe(topic, record) for topic, record in found[:limit]]


def _newest_first(log: TopicLog, topic: str, end: int, step: int = 1_000) -> Iterator[Record]:
    last = max(0, end - SCANNED_AT_MOST)
    while end > last:
        start = max(last, end - step)
        window: list[Record] = []
        while start < end and (records := log.read(topic, start, max_records=end - start)):
            window += [record for record in records if record.offset < end]
            start = records[-1].offset + 1
        yield from reversed(window)
        end = max(last, end - step)


def _passages(record: Record) -> list[_Cited]:
    if record.kind not in _WITH_PASSAGES:
        return []
    return msgspec.json.decode(record.value, type=_Citing).passages


def _cites(record: Record, name: str) -> bool:
    return any(name in (one.document, cites(one.document, one.version)) for one in _passages(record))


def _origin(record: Record) -> Origin:
    """Origins of source records and dead letters may be plain text: the source's own place."""
    try:
        return msgspec.json.decode(record.origin or "{}", type=Origin)
    except msgspec.MsgspecError:
        return Origin(position=record.origin)


def find(log: TopicLog, record_id: str, namespace: str | None = None) -> list[tuple[str, Record]]:
    """Every topic of a namespace (None: of all) that holds a record of that id. NotFoundError if none does."""
    found = [
        (info.spec.name, record)
        for info in topics_of(log, namespace)
        if (record := log.find(info.spec.name, record_id)) is not None
    ]
    if not found:
        raise NotFoundError(
            f"no topic holds a record with the id {record_id!r}",
            next_step="run `headrace read TOPIC -o json` to see the ids in a topic",
        )
    return found


def backwards(log: TopicLog, topic: str, record: Record) -> Iterator[dict[str, Any]]:
    """The record, what it was made of, and so on to the source."""
    yield describe(topic, record)
    origin = _origin(record)
    if origin.query:
        yield from _window_rows(log, topic, origin)
    elif origin.topic and origin.offset >= 0:
        parents = log.read(origin.topic, origin.offset, max_records=1)
        if parents and parents[0].offset == origin.offset:
            yield from backwards(log, origin.topic, parents[0])
    elif record.kind == codec.KINDS[Answer]:
        yield from _answer_parents(log, topic, codec.decode(record, Answer))


def _answer_parents(log: TopicLog, topic: str, answer: Answer) -> Iterator[dict[str, Any]]:
    """The version that answered and the examples it had learned when it was cut."""
    namespace = topic.partition(".")[0]
    finetuner = ResourceId("StreamFinetuner", namespace, answer.model.partition("@")[0])
    found = registry.load(log, finetuner)
    version = next((one for one in found[0].versions if one.name == answer.version), None) if found else None
    if version is None:
        return
    yield {
        "topic": "registry", "kind": "version", "id": f"{answer.model}@{answer.version}",
        "learnedFrom": {"topic": topics.examples(finetuner), "offsets": [0, version.cut_offset]},
        "weightsSha256": version.weights_sha256, "parent": version.parent,
    }  # fmt: skip


def _window_rows(log: TopicLog, rows_topic: str, origin: Origin) -> Iterator[dict[str, Any]]:
    """The rows of a window, found by reading its time range again; late rows were not in it."""
    late = _late_ids(log, rows_topic)
    for topic in origin.topics:
        for record in read_all(log, topic):
            if record.id not in late and _is_in_window(record, topic, origin):
                yield describe(topic, record)


def _is_in_window(record: Record, topic: str, origin: Origin) -> bool:
    """Whether a window's row was also made of this record, judging by time and key."""
    if topic not in origin.topics or not codec.is_data(record):
        return False
    if not origin.window_start <= record.event_time < origin.window_end:
        return False
    return not origin.key or not record.key or record.key in (origin.key, *parted(origin.key))


def _late_ids(log: TopicLog, rows_topic: str) -> set[str]:
    late = rows_topic.removesuffix(".rows") + ".late"
    return {record.id for record in read_all(log, late)} if late in {info.spec.name for info in log.topics()} else set()


def forwards(log: TopicLog, record_id: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
    """Everything that was made of a record, stage after stage, through every finetuner that reads another's examples.

    Without a namespace: of the record in each that has one of that id, since what a record becomes never leaves its namespace.
    """
    if namespace is None:
        for one in sorted({topic.partition(".")[0] for topic, _ in find(log, record_id)}):
            yield from forwards(log, record_id, one)
        return
    names = [info.spec.name for info in topics_of(log, namespace)]
    start = [(name, record) for name in names if (record := log.find(name, record_id)) is not None]
    touched, shown = _Touched({record_id}, start), set[tuple[str, int]]()
    before = -1
    while before < len(shown):
        before = len(shown)
        for name in (n for suffix in _DOWNSTREAM for n in names if n.rpartition(".")[2] == suffix):
            late = _late_ids(log, name) if name.endswith(".rows") else set[str]()
            for record in read_all(log, name):
                if (name, record.offset) not in shown and touched.made(record, late):
                    touched.add(name, record)
                    shown.add((name, record.offset))
                    yield describe(name, record)


_DOWNSTREAM = ("rows", "late", "prompts", "examples", "scores", "answers")


@dataclass(slots=True)
class _Touched:
    """What the trace has reached so far."""

    ids: set[str]
    records: list[tuple[str, Record]]

    def add(self, topic: str, record: Record) -> None:
        self.ids.add(record.id)
        self.records.append((topic, record))

    def made(self, record: Record, late: set[str]) -> bool:
        """Whether the record was made of one of these; `late`: ids that no window of its query took in."""
        origin = _origin(record)
        if origin.query:
            return any(one.id not in late and _is_in_window(one, topic, origin) for topic, one in self.records)
        if any(topic == origin.topic and one.offset == origin.offset for topic, one in self.records):
            return True
        return origin.id in self.ids or record.id in self.ids or bool(record.key and record.key in self.ids)


def describe(topic: str, record: Record) -> dict[str, Any]:
    """A record for output; if it was made from documents, with their names, versions and chunks."""
    value = (
        msgspec.json.decode(record.value) if record.value[:1] in (b"{", b"[") else record.value.decode(errors="replace")
    )
    shown = {
        "topic": topic, "offset": record.offset, "id": record.id, "kind": record.kind, "key": record.key,
        "eventTime": record.event_time, "ingestedAt": record.ingested_at,
        "origin": msgspec.to_builtins(_origin(record)), "value": value,
    }  # fmt: skip
    passages = _passages(record)
    return shown | {"passages": msgspec.to_builtins(passages)} if passages else shown
