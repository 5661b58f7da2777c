"""Fields of a source that makes its rows up: a row a second, so that each run gives the next one."""

import json
from typing import Any

from .case import Case, Setting
from .house import GONE, House

DRAWN: dict[str, dict[str, Any]] = {
    "sequence": {"name": "x", "kind": "sequence"},
    "uniform": {"name": "x", "kind": "uniform"},
    "normal": {"name": "x", "kind": "normal"},
    "choice": {"name": "x", "kind": "choice", "values": ["a", "b"]},
    "timestamp": {"name": "x", "kind": "timestamp"},
}


def _setting(kind: str, waits: float) -> Setting:
    spec = {"type": "generator", "generator": {"rate": 1.0, "fields": [DRAWN[kind]]}}
    return Setting(lambda folder, _: House(folder, {"StreamConnector/in": spec}, waits=waits), lambda _: None)


def values(house: House) -> list[Any]:
    return [json.loads(one.value).get("x") for one in house.rows("in.events")]


def _case(
    path: str, change: dict[str, Any], before: Any, after: Any, kind: str = "sequence", waits: float = 0.0, **given: Any
) -> Case:
    block = {f"generator.{place}": value for place, value in change.items()}
    return Case("StreamConnector", f"generator.{path}", _setting(kind, waits), block, values, before, after, {f"generator.{place}": value for place, value in given.items()}, variant="source/generator")  # fmt: skip


def _field(key: str, value: Any, before: Any, after: Any, kind: str, **given: Any) -> Case:
    return _case(f"fields.{key}", {f"fields.0.{key}": value}, before, after, kind, **given)


def _moves(least: float, most: float) -> Any:
    """The row before the change stays; the one behind it lies between."""
    return lambda was, now: now[:1] == was and len(now) == 2 and least <= now[1] <= most


ONE_ROW = {"count": 1, "rate": GONE}
CASES = (
    _field("start", 100, [0], [0, 101], "sequence"),
    _field("step", 10, [0], [0, 10], "sequence"),
    _field("low", 0.99, None, _moves(0.99, 1.0), "uniform"),
    _field("high", 0.001, None, _moves(0, 0.001), "uniform"),
    _field("mean", 1_000.0, None, _moves(900, 1_100), "normal"),
    _field("deviation", 0.0, None, _moves(0, 0), "normal"),
    _field("values", ["c"], None, lambda was, now: now == [*was, "c"], "choice"),
    _field("weights", [0.0, 1.0], None, lambda was, now: now == [*was, "b"], "choice"),
    _field("interval", "1h", ["2024-01-01T00:00:00.000Z"], ["2024-01-01T00:00:00.000Z", "2024-01-01T01:00:00.000Z"], "timestamp"),
    _field("disorder", "1h", ["2024-01-01T00:00:00.000Z"], lambda was, now: now[:1] == was and now[1] < was[0], "timestamp"),
    _field("name", "y", [0], [0, None], "sequence"),
    _field("kind", "uniform", [0], lambda _, now: len(now) == 1 and 0 < now[0] < 1, "sequence", **ONE_ROW),
    _field("whole", True, None, lambda _, now: now in ([0], [1]) and isinstance(now[0], int), "uniform", **ONE_ROW),
    _case("seed", {"seed": 7}, None, lambda was, now: now[:1] == was and len(now) == 2, "uniform"),
    _case("rate", {"rate": 1.0}, [0], [0, 1, 2, 3, 4, 5, 6], waits=5.0, rate=0.001),
    _case("count", {"count": 3}, [0], [0, 1, 2], **ONE_ROW),
)  # fmt: skip
