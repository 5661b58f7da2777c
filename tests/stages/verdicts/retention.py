"""How long a finetuner's topics keep what they hold: a change acts at the next trim, on its own topics alone."""

from dataclasses import replace
from pathlib import Path

from headrace.events import topics
from headrace.log.topic_log import TopicSpec
from headrace.stages.serve.options import ServedModel
from headrace.stages.serve.spec import shared_topics
from headrace.testing.builders import append, new_record, read_all
from headrace.testing.resource_ids import finetuner_id

from .case import Case, Setting
from .house import House
from .learners import docs

DESK = finetuner_id("desk")
FORGET: dict[str, tuple[str, ...]] = {
    "rows": (topics.rows(DESK),),
    "late": (topics.late(DESK),),
    "prompts": (topics.prompts(DESK),),
    "examples": (topics.examples(DESK),),
    "scores": (topics.scores(DESK),),
    "deadLetters": tuple(topics.stage_dead(DESK, stage) for stage in ("transform", "prompt", "label", "train")),
    "answers": (topics.answers("default"),),
    "feedback": (topics.feedback("default"),),
}
"""The topics of each field."""
EVERY = [name for names in FORGET.values() for name in names]
HOURS_2 = 7_200.0


def _open(folder: Path, base: Path) -> House:
    """No stage runs: the log alone forgets."""
    return House(folder, docs(base), kinds=frozenset())


def _feed(house: House) -> None:
    """A record in every topic, as the stages declare it; then two hours pass, and the log is trimmed."""
    for name, spec in _declared(house).items():
        if name in EVERY:
            house.log.ensure_topic(spec)
    for name in EVERY:
        append(house.log, name, [new_record(f"{name}/{house.clock.now_ms()}")])
    house.clock.advance(HOURS_2)
    house.log.trim(house.clock.now_ms())


def _declared(house: House) -> dict[str, TopicSpec]:
    built = house.topology()
    shared = shared_topics("default", built.options(ServedModel))
    return {one.name: one for one in (*(one for spec in built.specs for one in spec.writes), *shared)}


def _forgotten(house: House) -> list[str]:
    return [name for name in EVERY if not read_all(house.log, name)]


_CASE = Case("StreamFinetuner", "", Setting(_open, _feed), {}, _forgotten, before=[], after=[])
CASES = [
    replace(_CASE, path=f"retention.{field}", change={f"retention.{field}": "1h"}, after=list(names))
    for field, names in FORGET.items()
]
