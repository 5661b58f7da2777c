"""What a StreamConnector's fields must be together."""

from collections.abc import Iterator

from headrace.kinds.document import Location
from headrace.kinds.kind import Draft, World
from headrace.kinds.mistake import nearest
from headrace.kinds.problem import Problem
from headrace.kinds.stream_connector.models import DIRECTIONS, types
from headrace.kinds.stream_connector.spec import CONNECTOR_TOPICS, FINETUNER_TOPICS, NAMESPACE_TOPICS

_SOURCE_ONLY = ("schema", "key", "id", "eventTime", "timeline", "retention", "table")


def check(draft: Draft, _world: World) -> Iterator[Problem]:
    """Keys belong to the direction; blocks to the type; columns exist; a sink's input is one stream and a topic it has."""
    direction = draft.text("direction") or "source"
    yield from _columns(draft)
    yield from _bounded_table(draft)
    if direction in DIRECTIONS:
        yield from _foreign_blocks(draft, direction)
    if direction == "sink":
        yield from _sink(draft)
    elif draft.given("input") is not None:
        yield Problem(("input",), "only a sink has an input", hint="Set `direction: sink`.", of_key=True)


def declared_columns(draft: Draft) -> tuple[str, ...] | None:
    """The names in `schema`; None where it is left out."""
    names = [column.get("name") for column in draft.items("schema") if isinstance(column, dict)]
    return tuple(name for name in names if isinstance(name, str)) or None


def _columns(draft: Draft) -> Iterator[Problem]:
    columns = declared_columns(draft)
    if columns is None:
        return
    for place, name in enumerate(columns):
        if name in columns[:place]:
            yield Problem(("schema", place, "name"), f"the column {name!r} is declared twice")
    for location, name in _named_columns(draft):
        if name not in columns:
            yield Problem(location, f"the schema has no column {name!r}", columns, nearest(name, columns))
    yield from _event_time_type(draft, draft.text("eventTime", "column"))


def _named_columns(draft: Draft) -> Iterator[tuple[Location, str]]:
    for key in ("key", "id"):
        given = draft.given(key)
        if isinstance(given, str):
            yield (key,), given
        for place, name in enumerate(draft.items(key)):
            if isinstance(name, str):
                yield (key, place), name
    for block, key in (("eventTime", "column"), ("table", "validFrom")):
        if name := draft.text(block, key):
            yield (block, key), name


def _event_time_type(draft: Draft, column: str | None) -> Iterator[Problem]:
    for place, given in enumerate(draft.items("schema")):
        if isinstance(given, dict) and given.get("name") == column and isinstance(given.get("type"), str):
            kind = str(given["type"]).strip().upper()
            if not kind.startswith(("TIMESTAMP", "BIGINT")):
                yield Problem(
                    ("schema", place, "type"),
                    f"{column!r} is the event time, so its type cannot be {kind}",
                    ("TIMESTAMP_LTZ(3)", "TIMESTAMP(3)", "BIGINT"),
                )


def _bounded_table(draft: Draft) -> Iterator[Problem]:
    if draft.given("table") is None:
        return
    endless = {
        "file": draft.given("file", "follow") in (True, "true"),
        "generator": draft.given("generator", "count") in (None, 0, "0"),
        "http": True,
    }
    if endless.get(draft.text("type") or ""):
        yield Problem(
            ("table",),
            "a table must end, and this source is unbounded",
            hint="Remove `table` to join it as a stream.",
            of_key=True,
        )


def _foreign_blocks(draft: Draft, direction: str) -> Iterator[Problem]:
    name = draft.text("type")
    if name not in types(direction) or not isinstance(draft.spec, dict):
        return
    for key in draft.spec:
        if key != name and key in {*types("source"), *types("sink")}:
            yield Problem((key,), f"this block belongs to type {key}, but the type is {name}", of_key=True)


def _sink(draft: Draft) -> Iterator[Problem]:
    for key in _SOURCE_ONLY:
        if draft.given(key) is not None:
            yield Problem((key,), "does not apply to a sink", hint="Remove it.", of_key=True)
    block = draft.given("input")
    if block is None:
        yield Problem((), "a sink needs `input`", hint="Set input: {streamFinetuner: NAME, topic: rows}.", of_key=True)
    if isinstance(block, dict):
        yield from _input(draft, "streamFinetuner" in block, "streamConnector" in block)


def _input(draft: Draft, finetuner: bool, connector: bool) -> Iterator[Problem]:
    topic = draft.text("input", "topic")
    if finetuner and connector:
        yield Problem(
            ("input", "streamConnector"), "streamFinetuner and streamConnector are mutually exclusive", of_key=True
        )
        return
    valid = FINETUNER_TOPICS if finetuner else CONNECTOR_TOPICS if connector else NAMESPACE_TOPICS
    if topic in {*CONNECTOR_TOPICS, *FINETUNER_TOPICS, *NAMESPACE_TOPICS} and topic not in valid:
        owner = "a StreamFinetuner" if finetuner else "a StreamConnector" if connector else "a namespace"
        yield Problem(
            ("input", "topic"), f"{owner} has no topic {topic!r}", valid, nearest(topic, valid),
            None if finetuner or connector else "Set its owner: streamFinetuner or streamConnector.",
        )  # fmt: skip
    elif topic is None and not finetuner and not connector:
        yield Problem(
            ("input",), "names nothing", ("streamFinetuner", "streamConnector", "topic: answers"), of_key=True
        )
