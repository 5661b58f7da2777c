"""Fields of sinks: what a source's events become outside."""

import contextlib
import io
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.testing.webhook_receiver import WebhookReceiver

from .case import Case, Feed, Setting
from .house import GONE, House
from .sources import FILE, lines_of

OUT, IN, OTHER = "StreamConnector/out", "StreamConnector/in", "StreamConnector/other"
INPUT = {"streamConnector": "in"}
TO_FILES: dict[str, Any] = {"direction": "sink", "type": "file", "file": {"path": "out"}, "input": INPUT}
TO_STDOUT: dict[str, Any] = {"direction": "sink", "type": "stdout", "stdout": {}, "input": INPUT}


def feed(house: House) -> None:
    """Two good lines and a bad one, and others of another source."""
    house.write("in.jsonl", [*lines_of(house), "no object"])
    house.write("other.jsonl", [json.dumps({"at": house.clock.now_ms(), "n": 10 * house.fed + n}) for n in (5, 6)])


def sources() -> dict[str, Any]:
    return {IN: FILE, OTHER: {**FILE, "file": {"path": "other.jsonl", "format": "json"}}}


@contextlib.contextmanager
def captured(house: House) -> Generator[None]:
    found = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(found):
        yield
    found.flush()
    text = found.buffer.getvalue().decode()  # type: ignore[attr-defined]
    house.extra.setdefault("printed", []).extend(json.loads(line) for line in text.splitlines())


def printed(house: House) -> list[Any]:
    return [one.get("n") for one in house.extra["printed"]]


def _files(house: House, folder: str = "out") -> list[str]:
    return sorted(one.name for one in house.folder.glob(f"{folder}/*") if not one.name.startswith("."))


def _in_files(house: House, folder: str = "out") -> list[Any]:
    paths = sorted(house.folder.glob(f"{folder}/*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def _numbers(house: House) -> list[Any]:
    return [one.get("n", "letter") for one in _in_files(house)]


ON_FILES = Setting(lambda folder, _: House(folder, {OUT: TO_FILES, **sources()}, around=captured), feed)
ON_STDOUT = Setting(lambda folder, _: House(folder, {OUT: TO_STDOUT, **sources()}, around=captured), feed)


def _file(path: str, value: Any, see: Any, before: Any, after: Any) -> Case:
    return Case(
        "StreamConnector", f"file.{path}", ON_FILES, {f"file.{path}": value}, see, before, after, variant="sink/file"
    )


FILES = (
    _file("format", "parquet", lambda h: [one.rpartition(".")[2] for one in _files(h)], ["jsonl"], ["jsonl", "parquet"]),
    _file("rollRecords", 1, lambda h: len(_files(h)), 1, 3),
    _file("rollBytes", 1, lambda h: len(_files(h)), 1, 3),
    _file("metadata", True, lambda h: ["_id" in one for one in _in_files(h)], [False] * 2, [False] * 2 + [True] * 2),
    _file("path", "new", lambda h: (_numbers(h), [one["n"] for one in _in_files(h, "new")]), ([1, 2], []), ([1, 2], [1, 2, 3, 4])),
    Case("StreamConnector", "type", ON_FILES, {"type": "stdout", "stdout": {}, "file": GONE}, lambda h: (_numbers(h), printed(h)), ([1, 2], []), ([1, 2], [1, 2, 3, 4]), variant="sink"),
    Case("StreamConnector", "stdout.metadata", ON_STDOUT, {"stdout.metadata": True}, lambda h: ["_id" in one for one in h.extra["printed"]], [False] * 2, [False] * 2 + [True] * 2, variant="sink/stdout"),
    Case("StreamConnector", "input.streamConnector", ON_FILES, {"input.streamConnector": "other"}, _numbers, [1, 2], [1, 2, 5, 6, 15, 16]),
    Case("StreamConnector", "input.topic", ON_STDOUT, {"input.topic": "dead"}, lambda h: [one.get("n", "letter") for one in h.extra["printed"]], [1, 2], [1, 2, "letter", "letter"]),
)  # fmt: skip


def _hook(judge: Any = None) -> Any:
    def opened(folder: Path, _: Path) -> House:
        receivers = [WebhookReceiver(judge), WebhookReceiver()]
        spec = {"direction": "sink", "type": "webhook", "webhook": {"url": receivers[0].url}, "input": INPUT}
        house = House(folder, {OUT: spec, **sources()}, ends=[one.close for one in receivers])
        house.extra["receivers"] = receivers
        return house

    return opened


def _one_busy(house: House) -> None:
    """The server is busy when the first record comes."""
    feed(house)
    house.extra["receivers"][0].script.append((503, {}))


def _slowly(_: bytes) -> int:
    SYSTEM_CLOCK.sleep(0.15)
    return 200


def _bodies(house: House, receiver: int = 0) -> list[Any]:
    return [json.loads(body) for _, body in house.extra["receivers"][receiver].requests]


def _taken(house: House) -> int:
    """How far the sink has come."""
    return house.log.offset("sink/default.out", "default.in.events")


def _webhook(
    path: str, value: Any, see: Any, before: Any, after: Any, feeding: Feed = feed, judge: Any = None, **given: Any
) -> Case:
    place = f"webhook.{path}"
    return Case("StreamConnector", place, Setting(_hook(judge), feeding), {place: value}, see, before, after, {f"webhook.{name}": one for name, one in given.items()}, variant="sink/webhook")  # fmt: skip


def _to_other(house: House) -> dict[str, Any]:
    return {"webhook.url": house.extra["receivers"][1].url}


WEBHOOKS = (
    Case("StreamConnector", "webhook.url", Setting(_hook(), feed), _to_other, lambda h: (len(_bodies(h)), len(_bodies(h, 1))), (2, 0), (2, 2), variant="sink/webhook"),
    _webhook("method", "PUT", lambda h: h.extra["receivers"][0].methods, ["POST"] * 2, ["POST"] * 2 + ["PUT"] * 2),
    _webhook("headers", {"x-team": "b"}, lambda h: [one.get("x-team") for one, _ in h.extra["receivers"][0].requests], ["a"] * 2, ["a"] * 2 + ["b"] * 2, headers={"x-team": "a"}),
    _webhook("batchRecords", 2, lambda h: [len(one) if isinstance(one, list) else 1 for one in _bodies(h)], [1, 1], [1, 1, 2]),
    _webhook("timeout", "10s", _taken, 0, 6, judge=_slowly, timeout="50ms", retryFor="0s"),
    _webhook("retryFor", "10s", lambda h: len(h.extra["errors"]), 1, 0, _one_busy, retryFor="0s"),
    _webhook("metadata", True, lambda h: ["_id" in one for one in _bodies(h)], [False] * 2, [False] * 2 + [True] * 2),
)  # fmt: skip
CASES = (*FILES, *WEBHOOKS)
