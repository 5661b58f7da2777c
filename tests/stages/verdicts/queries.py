"""Fields that a query acts on, and those of the prompts that its rows become."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace.events.prompt import Prompt
from headrace.stages.stage import read_statuses

from .case import Case, Feed, Setting
from .house import GONE, House
from .learners import DESK, SPEC

START = 1_700_000_000_000
MINUTE = 60_000
COLUMNS = [{"name": "at", "type": "BIGINT"}, *({"name": name, "type": "STRING"} for name in ("word", "team", "other"))]
IN: dict[str, Any] = {
    "type": "file", "file": {"path": "in.jsonl", "format": "json", "follow": True}, "schema": COLUMNS, "eventTime": {"column": "at"},
    "timeline": "event",
}  # fmt: skip
TABLE: dict[str, Any] = {
    "type": "file", "file": {"path": "table.jsonl", "format": "json"}, "table": {"validFrom": "since"},
    "schema": [{"name": "word", "type": "STRING"}, {"name": "since", "type": "TIMESTAMP_LTZ(3)"}, {"name": "other", "type": "TIMESTAMP_LTZ(3)"}, {"name": "means", "type": "STRING"}],
}  # fmt: skip
WINDOW = (
    "SELECT COUNT(*) AS n, LAST_VALUE(word) AS word, LAST_VALUE(team) AS team FROM TABLE(TUMBLE(TABLE source_stream, DESCRIPTOR(at), "
    "INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"
)
JOIN = "SELECT s.word AS word, s.team AS team, t.means AS means FROM source_stream AS s LEFT JOIN meanings FOR SYSTEM_TIME AS OF s.at AS t ON s.word = t.word"
PLAIN = "SELECT word, team, other FROM source_stream"
NOW = "SELECT word, team, now() AS moment FROM source_stream"
SQL = "finetunerTemplate.preProcessing.preProcessingSQL"


def _row(minute: int, word: str) -> str:
    return json.dumps({"at": START + minute * MINUTE, "word": word, "team": "cards", "other": "o"})


def _moment(minute: int) -> str:
    return datetime.fromtimestamp((START + minute * MINUTE) / 1000, UTC).isoformat()


def put(house: House, *minutes: int, file: str = "in.jsonl") -> None:
    """A row in each minute."""
    house.write(file, [_row(minute, f"w{minute}") for minute in minutes])


def _two(house: House) -> None:
    """Two rows, a minute apart."""
    put(house, 2 * house.fed + 1, 2 * house.fed + 2)
    put(house, 10 * house.fed + 51, file="other.jsonl")


def _disordered(house: House) -> None:
    """A row that comes a minute late."""
    first = 10 * house.fed
    put(house, first, file="other.jsonl")
    put(house, first + 1, first + 3, first + 2)


def _with_table(house: House) -> None:
    if house.fed == 0:
        lines = [
            {"word": "w", "since": _moment(one), "other": _moment(5 - one), "means": f"since {one}"} for one in (0, 5)
        ]
        house.write("table.jsonl", map(json.dumps, lines))
    put(house, house.fed, file="other.jsonl")
    house.write("in.jsonl", [_row(2 + house.fed, "w")])


def _open(sql: str, *, prompts: bool = False) -> Any:
    def opened(folder: Path, base: Path) -> House:
        spec = {
            **SPEC,
            "finetunerTemplate": {"preProcessing": {"preProcessingSQL": sql}},
            "promptTemplate": [{"systemContext": "Sort.", "userQuestion": "Which? {word}"}],
        }
        others = {
            "BaseModel/tiny": {"baseModelServingInfo": {"path": str(base)}},
            "StreamConnector/in": IN,
            "StreamConnector/other": {**IN, "file": {**IN["file"], "path": "other.jsonl"}},
            "StreamConnector/meanings": TABLE,
        }
        kinds = {"ingest", "transform", *(("prompt",) if prompts else ())}
        return House(folder, {DESK: spec, **others}, kinds=frozenset(kinds))

    return opened


def values(house: House, column: str) -> list[Any]:
    return [json.loads(one.value).get(column) for one in house.rows("desk.rows")]


def words(house: House) -> list[Any]:
    return values(house, "word")


def _late(house: House) -> int:
    return len(house.rows("desk.late"))


def carried(house: House) -> str:
    """What the stage says of how the query began."""
    return next(one.conditions[0].message for one in read_statuses(house.log) if one.stage == "transform")


def prompts(house: House) -> list[Prompt]:
    return house.decoded("desk.prompts", Prompt)


def texts(house: House) -> list[str]:
    return [message.content for one in prompts(house) for message in one.messages]


def _in(
    path: str,
    change: dict[str, Any],
    see: Any,
    before: Any,
    after: Any,
    sql: str,
    feed: Feed,
    given: Any = None,
    of: str = "StreamConnector/in",
    **more: Any,
) -> Case:
    return Case(
        "StreamConnector", path, Setting(_open(sql), feed), change, see, before, after, given or {}, of=of, **more
    )


def _desk(
    path: str, change: dict[str, Any], see: Any, before: Any, after: Any, sql: str, feed: Feed = _two, **more: Any
) -> Case:
    return Case("StreamFinetuner", path, Setting(_open(sql), feed), change, see, before, after, **more)


def _minutes(house: House) -> list[int]:
    """Of `now()`, in each row."""
    return [round((_ms(one) - START) / MINUTE) for one in values(house, "moment")]


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000


DIRECT = "preProcessing"
MOVED = {"finetunerTemplate.preProcessing": GONE}
INPUTS = (
    _in("eventTime.outOfOrderness", {"eventTime.outOfOrderness": "5m"}, lambda h: (_late(h), "restarted" in carried(h)), (1, False), (1, False), WINDOW, _disordered),
    _in("table.validFrom", {"table.validFrom": "other"}, lambda h: values(h, "means"), ["since 0"], ["since 0", "since 5"], JOIN, _with_table, of="StreamConnector/meanings"),
)  # fmt: skip
QUERIES = (
    *(
        _desk(f"{block}.preProcessingSQL", {**(MOVED if block == DIRECT else {}), f"{block}.preProcessingSQL": PLAIN.replace("word,", "UPPER(word) AS word,")},
              words, ["w1", "w2"], ["w1", "w2", "W3", "W4"], PLAIN)
        for block in (DIRECT, f"finetunerTemplate.{DIRECT}")
    ),
    *(
        _desk(f"{block}.startTime", {**(MOVED if block == DIRECT else {}), f"{block}.preProcessingSQL": WINDOW, f"{block}.startTime": "2023-11-14T22:15:00Z"},
              words, ["w1", "w2"], lambda was, now: now[:2] == was and "w1" not in now[2:], PLAIN)
        for block in (DIRECT, f"finetunerTemplate.{DIRECT}")
    ),
    _desk("timeline", {"timeline": "event"}, _minutes, [0, 0], [0, 0, 3, 4], NOW),
    _desk("finetunerInfo.dataSource.sourceStreamConnector", {"finetunerInfo.dataSource.sourceStreamConnector": "other"},
          lambda h: (words(h), carried(h)), lambda now: now[0] == ["w1", "w2"], lambda _, now: now[0] == ["w1", "w2", "w51", "w61"] and "continues" in now[1], PLAIN),
)  # fmt: skip


def _prompt(path: str, change: dict[str, Any], see: Any, before: Any, after: Any) -> Case:
    return Case("StreamFinetuner", path, Setting(_open(PLAIN, prompts=True), _two), change, see, before, after)


PROMPTS = (
    _prompt("promptTemplate.systemContext", {"promptTemplate.0.systemContext": "Choose."}, texts, ["Sort.", "Which? w1", "Sort.", "Which? w2"],
            ["Sort.", "Which? w1", "Sort.", "Which? w2", "Choose.", "Which? w3", "Choose.", "Which? w4"]),
    _prompt("promptTemplate.userQuestion", {"promptTemplate.0.userQuestion": "{other}"}, texts, ["Sort.", "Which? w1", "Sort.", "Which? w2"],
            ["Sort.", "Which? w1", "Sort.", "Which? w2", "Sort.", "o", "Sort.", "o"]),
    _prompt("groundTruth.column", {"groundTruth.column": "other"}, lambda h: [one.ground_truth for one in prompts(h)], ["cards"] * 2, ["cards"] * 2 + ["o"] * 2),
    *(
        _prompt(f"{block}.sampleRatio", {**(MOVED if block == DIRECT else {}), f"{block}.preProcessingSQL": PLAIN, f"{block}.sampleRatio": 0.000001}, lambda h: len(prompts(h)), 2, 2)
        for block in (DIRECT, f"finetunerTemplate.{DIRECT}")
    ),
)  # fmt: skip
CASES = (*INPUTS, *QUERIES, *PROMPTS)
