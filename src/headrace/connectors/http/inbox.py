"""Events pushed over HTTP, as records of the connector's inbox topic.

A pushed event becomes one `raw/1` record whose value is the JSON object as received (on one line). Its id makes a repeat
harmless, because the topic keeps ids unique:

- the declared `id` columns, if the event has them all: `NAME:` and their text, joined as the port says;
- otherwise the request's `Idempotency-Key` and the event's number in it;
- otherwise its content, its number in the request and the millisecond of its arrival: without an id and a key nothing distinguishes
  a repeat from a second, identical event, so every push counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from headrace.connectors.http.options import Options
from headrace.connectors.records.text_columns import json_text
from headrace.connectors.source import SourceOptions
from headrace.events import topics
from headrace.events.origin import Origin, encode_origin
from headrace.foundation.errors import FinalError
from headrace.foundation.ids import derive_id, joined
from headrace.foundation.quantities import parse_duration_ms
from headrace.log.record import NewRecord
from headrace.log.topic_log import TopicSpec

RAW = "raw/1"
JSON_TYPES = frozenset({"application/json", "text/json"})
LINES_TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
    }
)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """An event that cannot be accepted."""

    line: int
    """From 1: the line of NDJSON or the element of an array."""
    reason: str


class MalformedPushError(FinalError):
    """The body does not match its content type; none of it was accepted."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(
            f"line {first.line}: {first.reason}",
            next_step="send a JSON object, an array of objects, or one object per line",
        )
        self.problems = tuple(problems)


class UnsupportedContentError(FinalError):
    """An unsupported content type."""


def inbox_topic(options: SourceOptions) -> TopicSpec:
    """How the connector's inbox topic is kept."""
    keep = parse_duration_ms(Options.model_validate(dict(options.options)).keep)
    return TopicSpec(topics.inbox(options.id), retention_ms=keep, unique_ids=True)


def ingest_group(options: SourceOptions) -> str:
    """The consumer group whose offset shows how much of the inbox has been read."""
    return f"ingest/{options.id.path_name}"


def accept(
    options: SourceOptions, body: bytes, content_type: str, idempotency_key: str | None, now_ms: int
) -> list[NewRecord]:
    """The records of one request, not yet written. MalformedPushError, UnsupportedContentError."""
    limit = Options.model_validate(dict(options.options)).max_record_bytes
    events: list[tuple[int, bytes, dict[str, msgspec.Raw]]] = []
    problems: list[Problem] = []
    for line, raw in _split(body, content_type):
        try:
            events.append((line, raw, _decode(raw, limit)))
        except ValueError as error:
            problems.append(Problem(line, str(error)))
    if problems:
        raise MalformedPushError(problems[:_MOST_PROBLEMS])
    return [
        _record(options, raw, found, index, idempotency_key, now_ms) for index, (_, raw, found) in enumerate(events)
    ]


def _split(body: bytes, content_type: str) -> list[tuple[int, bytes]]:
    """The events with their numbers, not yet parsed."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in LINES_TYPES:
        return [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if kind not in JSON_TYPES:
        raise UnsupportedContentError(
            f"content type {kind or '(none)'!r} is not supported",
            next_step="use application/json or application/x-ndjson",
        )
    if not body.lstrip().startswith(b"["):
        return [(1, body)]
    try:
        return [(number, bytes(item)) for number, item in enumerate(_ARRAY.decode(body), 1)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedPushError([Problem(1, str(error))]) from error


def _decode(raw: bytes, limit: int) -> dict[str, msgspec.Raw]:
    if len(raw) > limit:
        raise ValueError(f"the event has {len(raw)} bytes; the limit is {limit} (http.maxRecordBytes)")
    try:
        raw.decode()
        return _OBJECT.decode(raw)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from error
    except msgspec.ValidationError as error:
        raise ValueError(f"not a JSON object ({error})") from error
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("the event nests too deeply") from error


def _record(
    options: SourceOptions,
    raw: bytes,
    found: dict[str, msgspec.Raw],
    index: int,
    idempotency_key: str | None,
    now_ms: int,
) -> NewRecord:
    value = raw.strip().replace(b"\n", b" ").replace(b"\r", b" ")
    return NewRecord(
        id=_record_id(options, value, found, index, idempotency_key, now_ms), kind=RAW, value=value, event_time=now_ms,
        key=_joined(found, options.key) or "", origin=encode_origin(Origin(source=options.id.name, position=f"push {index}")),
        ingested_at=now_ms,
    )  # fmt: skip


def _record_id(
    options: SourceOptions,
    value: bytes,
    found: dict[str, msgspec.Raw],
    index: int,
    idempotency_key: str | None,
    now_ms: int,
) -> str:
    own = _joined(found, options.id_columns)
    if own is not None:
        return f"{options.id.name}:{own}"
    if idempotency_key is not None:
        return f"{options.id.name}:{derive_id('key', idempotency_key, index)}"
    return f"{options.id.name}:{derive_id('content', value.decode(), index, now_ms)}"


def _joined(found: dict[str, msgspec.Raw], names: Sequence[str]) -> str | None:
    """The columns' text, joined as the port describes; None: none declared, or one is missing or unreadable."""
    try:
        texts = [json_text(found.get(name)) for name in names]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not texts or any(text is None for text in texts):
        return None
    return joined([text or "" for text in texts])
