"""Fields that every source has, and those of files."""

import json
from pathlib import Path
from typing import Any

from headrace.events.dead_letter import DeadLetter

from .case import Case, Setting
from .house import GONE, House

MINUTE = 60_000
COLUMNS = [
    {"name": "at", "type": "BIGINT"},
    {"name": "then", "type": "BIGINT"},
    {"name": "n", "type": "BIGINT"},
    {"name": "text", "type": "STRING"},
]
FILE: dict[str, Any] = {
    "type": "file", "file": {"path": "in.jsonl", "format": "json"}, "schema": COLUMNS, "eventTime": {"column": "at"},
}  # fmt: skip


def lines_of(house: House, *, ahead_ms: int = 0) -> list[str]:
    """Two rows for the next run; the numbers go on."""
    first, now = 2 * house.fed + 1, house.clock.now_ms()
    return [
        json.dumps({"at": now + ahead_ms, "then": now - MINUTE, "n": n, "text": f"t{n}", "mood": "good"})
        for n in (first, first + 1)
    ]


def _open(spec: dict[str, Any], **options: Any) -> Any:
    def opened(folder: Path, _: Path) -> House:
        return House(folder, {"StreamConnector/in": spec}, **options)

    return opened


def feed_lines(house: House) -> None:
    house.write("in.jsonl", lines_of(house))


def feed_ahead(house: House) -> None:
    """The clock of whoever sends is ten minutes ahead."""
    house.write("in.jsonl", lines_of(house, ahead_ms=10 * MINUTE))


def feed_long(house: House) -> None:
    first = 2 * house.fed + 1
    house.write("in.jsonl", [json.dumps({"at": house.clock.now_ms(), "n": first, "text": "x" * 200})])


def values(house: House, column: str = "n") -> list[Any]:
    return [json.loads(one.value).get(column) for one in house.rows("in.events")]


def letters(house: House) -> list[str]:
    return [one.code for one in house.decoded("in.dead", DeadLetter)]


ON_FILE = Setting(_open(FILE), feed_lines)
AHEAD = Setting(_open(FILE), feed_ahead)
LONG = Setting(_open(FILE), feed_long)


def _shared(
    path: str, change: dict[str, Any], see: Any, before: Any, after: Any, setting: Setting = ON_FILE, **more: Any
) -> Case:
    return Case("StreamConnector", path, setting, change, see, before, after, **more)


def _trimmed(house: House) -> list[Any]:
    """Events that are left an hour later, when the log forgets what it may."""
    house.clock.advance(3_600)
    house.log.trim(house.clock.now_ms())
    return values(house)


def _other_file(house: House) -> None:
    feed_lines(house)
    house.write("other.jsonl", [json.dumps({"at": house.clock.now_ms(), "n": 100 + house.fed})])


def _growing(house: House) -> None:
    """Another line is there once everything is read."""
    house.write("in.jsonl", [json.dumps({"at": house.clock.now_ms(), "n": 100 + house.fed})])


def _csv(house: House) -> None:
    """With commas in the first run and semicolons in the second."""
    separator = ",;"[house.fed]
    lines = (("at", "n", "text"), (str(house.clock.now_ms()), str(house.fed), "x"))
    house.write(f"in-{house.fed}.csv", map(separator.join, lines))


def _change_event(house: House) -> None:
    row = {"at": house.clock.now_ms(), "n": house.fed}
    house.write("in.jsonl", [json.dumps({"op": "c", "before": None, "after": row, "source": {}, "ts_ms": 0})])


def _out_files(house: House) -> list[str]:
    return sorted(one.name for one in house.folder.glob("out/*.jsonl"))


SHARED = (
    _shared("key", {"key": ["n"]}, lambda h: [one.key for one in h.rows("in.events")], ["t1", "t2"], ["t1", "t2", "3", "4"], given={"key": ["text"]}),
    _shared("id", {"id": ["n"]}, lambda h: [one.id for one in h.rows("in.events")][-2:], ["in:t1", "in:t2"], ["in:3", "in:4"], given={"id": ["text"]}),
    _shared("eventTime.column", {"eventTime.column": "then"}, lambda h: [one.event_time - json.loads(one.value)["at"] for one in h.rows("in.events")], [0, 0], [-MINUTE] * 4),
    _shared("eventTime.idleTimeout", {"eventTime.idleTimeout": "10s"}, lambda h: h.signs("in.events"), [], ["idle"],
            Setting(_open({**FILE, "file": {**FILE["file"], "follow": True}}, waits=20.0), feed_lines)),
    _shared("eventTime.maxAhead", {"eventTime.maxAhead": "1h"}, lambda h: (values(h), letters(h)), ([], ["ahead_of_clock"] * 2), ([3, 4], ["ahead_of_clock"] * 2), AHEAD),
    _shared("timeline", {"timeline": "event"}, lambda h: (values(h), letters(h)), ([], ["ahead_of_clock"] * 2), ([3, 4], ["ahead_of_clock"] * 2), AHEAD),
    _shared("retention", {"retention": "1s"}, _trimmed, [1, 2], []),
    _shared("schema.name", {"schema.4": {"name": "mood", "type": "STRING"}}, lambda h: values(h, "mood"), [None, None], [None, None, "good", "good"]),
    _shared("schema.type", {"schema.2.type": "STRING"}, values, [1, 2], ["1", "2", "3", "4"]),
    _shared("direction", {"direction": "sink", "schema": GONE, "eventTime": GONE, "file.path": "out", "input": {"streamConnector": "first"}},
            lambda h: (values(h), len(_out_files(h))), ([1, 2], 0), ([1, 2], 1),
            Setting(lambda folder, _: House(folder, {"StreamConnector/in": FILE, "StreamConnector/first": {**FILE, "file": {"path": "first.jsonl"}}}),
                    lambda h: (feed_lines(h), h.write("first.jsonl", lines_of(h)), None)[-1])),
    _shared("type", {"type": "generator", "file": GONE, "generator": {"count": 3, "fields": [{"name": "n", "kind": "sequence"}]}, "schema": [{"name": "n", "type": "BIGINT"}], "eventTime": GONE},
            values, [1, 2], [0, 1, 2], variant="source"),
)  # fmt: skip


def _file(
    path: str, change: dict[str, Any], see: Any, before: Any, after: Any, setting: Setting = ON_FILE, **more: Any
) -> Case:
    return Case("StreamConnector", f"file.{path}", setting, {f"file.{place}": value for place, value in change.items()}, see, before, after, variant="source/file", **more)  # fmt: skip


FILES = (
    _file("path", {"path": "other.jsonl"}, values, [1, 2], [1, 2, 100, 101], Setting(_open(FILE), _other_file)),
    _file("format", {"format": "csv"}, lambda h: (values(h), len(letters(h))), ([1, 2], 0), lambda _, seen: seen[0] == [] and seen[1] > 0),
    _file("follow", {"follow": True}, lambda h: (values(h), h.signs("in.events")), ([1, 2], ["end"]), ([1, 2, 101, 3, 4, 102], ["end"]),
          Setting(_open(FILE, meanwhile=_growing), feed_lines)),
    _file("maxRecordBytes", {"maxRecordBytes": 1_000}, lambda h: (values(h), letters(h)), ([], ["too_long"]), ([3], ["too_long"]), LONG, given={"file.maxRecordBytes": 100}),
    _file("delimiter", {"delimiter": ";"}, lambda h: (values(h), letters(h)), ([0], []), ([0, 1], []), Setting(_open({**FILE, "file": {"path": "in-*.csv", "format": "csv"}}), _csv)),
    _file("envelope", {"envelope": "debezium"}, values, [], [1], Setting(_open(FILE), _change_event)),
)  # fmt: skip
CASES = (*SHARED, *FILES)
