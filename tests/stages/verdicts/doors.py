"""Fields of the HTTP door: what is pushed before each run."""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from headrace.doors.push import push_router
from headrace.stages.serve.options import PushDoor

from .case import Case, Setting
from .house import House

SPEC: dict[str, Any] = {
    "type": "http", "http": {}, "schema": [{"name": "n", "type": "BIGINT"}, {"name": "text", "type": "STRING"}],
}  # fmt: skip
PATH = "/apis/streams.nstream.ai/v1/namespaces/default/streamconnectors/in/events"


def _open(folder: Path, _: Path) -> House:
    return House(folder, {"StreamConnector/in": SPEC})


def _push(house: House, event: dict[str, Any]) -> None:
    """Through the door as it is declared now."""
    [door] = house.topology().options(PushDoor)
    app = FastAPI()
    app.include_router(push_router([door.source], house.log, clock=house.clock))
    with TestClient(app) as client:
        answer = client.post(PATH, json=event)
    house.extra.setdefault("answers", []).append(answer.status_code)


def _plain(house: House) -> None:
    _push(house, {"n": house.fed, "text": "x" * 100})


def _change_event(house: House) -> None:
    _push(house, {"op": "c", "before": None, "after": {"n": house.fed}, "source": {}, "ts_ms": 0})


def _seen(house: House) -> tuple[list[int], list[int | None]]:
    """What the door answered, and the rows."""
    return house.extra["answers"], [json.loads(one.value).get("n") for one in house.rows("in.events")]


def _kept(house: House) -> int:
    """Of the inbox, two hours later."""
    house.clock.advance(7_200)
    house.log.trim(house.clock.now_ms())
    return len(house.records("in.inbox"))


def _case(path: str, value: Any, see: Any, before: Any, after: Any, feed: Any = _plain, given: Any = None) -> Case:
    place = f"http.{path}"
    return Case("StreamConnector", place, Setting(_open, feed), {place: value}, see, before, after, {} if given is None else {place: given}, variant="source/http")  # fmt: skip


CASES = (
    _case("maxBodyBytes", 1_000, _seen, ([413], []), ([413, 202], [1]), given=50),
    _case("maxRecordBytes", 1_000, _seen, ([400], []), ([400, 202], [1]), given=50),
    _case("keep", "1h", _kept, 1, 0),
    _case("envelope", "debezium", _seen, ([202], [None]), ([202, 202], [None, 1]), feed=_change_event),
)
