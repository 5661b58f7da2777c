"""Fields of a finetuner that its trainer acts on: rounds, candidates, trials, versions. The learner is the light one."""

import json
from pathlib import Path
from typing import Any

from headrace.events.dead_letter import DeadLetter
from headrace.events.decision import Decision
from headrace.learning.anchors import AnchorOptions, AnchorSet
from headrace.promotion import registry
from headrace.stages.train.train_state import read_train_state
from headrace.testing.resource_ids import finetuner_id

from ..declared_desk import TEAMS, WORDS  # noqa: TID252 - it stands beside the tests
from .case import Case, Feed, Setting
from .house import House

DESK = "StreamFinetuner/desk"
ROWS = 80
IN: dict[str, Any] = {
    "type": "file", "file": {"path": "in.jsonl", "format": "json"}, "id": ["id"],
    "schema": [{"name": name, "type": "STRING"} for name in ("id", "text", "team", "other")],
}  # fmt: skip
SPEC: dict[str, Any] = {
    "finetunerInfo": {"baseModel": "tiny", "dataSource": {"sourceStreamConnector": "in"}},
    "finetunerTemplate": {
        "finetunerResources": {"limits": {"cpu": 1}},
        "dataProcessorTemplate": {"checkpointingInterval": "1s"},
        "preProcessing": {"preProcessingSQL": "SELECT * FROM source_stream"},
    },
    "promptTemplate": [{"userQuestion": "{text}"}],
    "groundTruth": {"column": "team"},
    "trainer": {"batchSize": 8, "learningRate": 0.005},
    "learning": {"method": "full", "optimizer": "adamw", "warmupSteps": 4, "replay": {"capacity": 64}},
    "promotion": {"candidateEvery": 100_000, "anchors": {"max": 16}},
}


def docs(base: Path) -> dict[str, Any]:
    """The finetuner, its base model and its source."""
    model = {"baseModelServingInfo": {"path": str(base)}}
    return {DESK: SPEC, "BaseModel/tiny": model, "StreamConnector/in": IN}


def _open(folder: Path, base: Path) -> House:
    return House(folder, docs(base), waits=2.0)


def _open_endless(folder: Path, base: Path) -> House:
    """An end of the source is a reason for a checkpoint, too."""
    endless = {**IN, "file": {**IN["file"], "follow": True}}
    return House(folder, {**docs(base), "StreamConnector/in": endless}, waits=2.0)


def rows(house: House, count: int = ROWS, *, wrong_anchors: bool = False) -> None:
    """Questions whose team follows from a word; with `wrong_anchors` those that are held out have an answer that no other has."""
    anchors, start = AnchorSet(AnchorOptions()), house.extra.setdefault("rows", 0)
    for number in range(start, start + count):
        kind = number % len(WORDS)
        team = "my my my" if wrong_anchors and anchors.takes(f"in:q{number}") else TEAMS[kind]
        row = {"id": f"q{number}", "text": f"my {WORDS[kind]} {number % 7}", "team": team, "other": "o"}
        house.write("in.jsonl", [json.dumps(row)])
    house.extra["rows"] = start + count


def _first_few(house: House) -> None:
    """So few at first that the first candidate is on trial, then enough to judge it."""
    rows(house, 300 if house.fed else 40)


def _first_many(house: House) -> None:
    """Enough for a candidate to win at first."""
    rows(house, 32 if house.fed else 300)


def _wrong_anchors(house: House) -> None:
    rows(house, 300 if house.fed else 40, wrong_anchors=True)


def _many(house: House) -> None:
    rows(house, 32 if house.fed else 400)


def last(house: House) -> Any:
    """The last round."""
    return house.lessons[-1]


def decisions(house: House, kind: str) -> list[Decision]:
    return [one for one in house.decoded("desk.decisions", Decision) if one.kind == kind]


def _letters(house: House) -> int:
    return len(house.decoded("desk.dead.train", DeadLetter))


def _versions(house: House) -> int:
    found = registry.load(house.log, finetuner_id("desk"))
    assert found is not None
    return len(found[0].versions)


def _trained(house: House) -> bool:
    """Whether the last checkpoint covers all examples."""
    state = read_train_state(house.log, finetuner_id("desk"))
    assert state is not None
    return state.offset == house.log.topic("default.desk.examples").end_offset


TRAINED = Setting(_open, rows)
TRIAL = {"promotion.candidateEvery": 32, "promotion.maxRows": 300, "promotion.probationRows": 100}


def _case(
    path: str, value: Any, see: Any, before: Any, after: Any, feed: Feed = rows, given: dict[str, Any] | None = None
) -> Case:
    return Case("StreamFinetuner", path, Setting(_open, feed), {path: value}, see, before, after, given or {})


ROUNDS = (
    _case("trainer.batchSize", 32, lambda h: max(one.sequences for one in h.lessons), 16, 64),
    _case("trainer.epochs", 3, lambda h: last(h).report.steps, 1, 3),
    _case("trainer.gradientAccumulationSteps", 2, lambda h: max(one.sequences for one in h.lessons), 16, 32),
    _case("trainer.learningRate", 0.001, lambda h: last(h).report.learning_rate, 0.005, 0.001),
    _case("trainer.useMixedPrecision", True, lambda h: last(h).options.mixed_precision, False, True),
    _case("learning.warmupSteps", 1_000, lambda h: last(h).report.learning_rate, 0.005, lambda _, now: now < 0.001),
    _case("learning.replay.perFresh", 3, lambda h: max(one.sequences for one in h.lessons), 16, 32),
    _case("learning.replay.capacity", 8, lambda h: h.progress("train")["replay"], 64, 8),
    _case("finetunerTemplate.finetunerResources.limits.cpu", 2, lambda h: last(h).options.threads, 1, 2),
    _case("learning.method", "lora", lambda h: last(h).options.method, "full", "lora"),
    _case("learning.optimizer", "muon", lambda h: last(h).options.optimizer, "adamw", "muon"),
    _case("learning.seed", 7, lambda h: last(h).options.seed, 0, 7),
    _case("ioSequenceLength.inputMax", 1, _letters, 0, ROWS),
    _case("ioSequenceLength.outputMax", 1, _letters, 0, ROWS),
    Case("StreamFinetuner", "finetunerTemplate.dataProcessorTemplate.checkpointingInterval", Setting(_open_endless, rows),
         {"finetunerTemplate.dataProcessorTemplate.checkpointingInterval": "1h"}, _trained, True, False),
)  # fmt: skip
PROMOTION = (
    _case("promotion.metric", "loss", lambda h: [one.details["metric"] for one in decisions(h, "cut")][:2], ["exact"], ["exact", "loss"], _first_few, TRIAL | {"promotion.metric": "exact"}),
    _case("promotion.candidateEvery", 16, lambda h: len(decisions(h, "cut")), 0, lambda _, now: now > 0),
    _case("promotion.alpha", 0.2, lambda h: [one.details["alpha"] for one in decisions(h, "cut")][:2], [0.01], lambda was, now: now[:1] == was and now[1] > 0.02, _first_few, TRIAL | {"promotion.alpha": 0.02}),
    _case("promotion.maxRows", 5, lambda h: len(decisions(h, "rejected")) > 0, False, True, rows, TRIAL | {"trainer.learningRate": 1e-9}),
    _case("promotion.anchors.max", 2, lambda h: h.progress("train")["anchors"], lambda now: now > 4, 2, _many),
    _case("promotion.anchors.maxDrop", 2.0, lambda h: [one.kind for kind in ("promoted", "rejected") for one in decisions(h, kind)][:1], [], ["promoted"], _wrong_anchors,
          TRIAL | {"promotion.metric": "loss", "promotion.anchors": {"max": 1, "maxDrop": 0}}),
    _case("promotion.probationRows", 1, lambda h: len(decisions(h, "confirmed")), 0, 1, _first_many, TRIAL | {"promotion.probationRows": 100_000}),
    _case("promotion.approval", "manual", lambda h: (len(decisions(h, "promoted")), len(decisions(h, "awaiting_approval")) > 0), (0, False), (0, True), _first_few, TRIAL),
    _case("promotion.keepVersions", 1, _versions, lambda now: now > 3, 2, lambda h: rows(h, 32 if h.fed else 700), TRIAL | {"promotion.candidateEvery": 16, "promotion.alpha": 0.5, "promotion.approval": "manual"}),
)  # fmt: skip
CASES = (*ROUNDS, *PROMOTION)
