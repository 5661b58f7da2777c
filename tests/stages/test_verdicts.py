"""Every field of every kind is changed in its declaration between two runs, and does what its verdict says.

`verdicts/` holds the table: one case a field. The fields are those of the schema, so that a new one without a case fails.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.control.readers import undeclared
from headrace.kinds.kind import Draft
from headrace.kinds.registry import KINDS
from headrace.models.tiny import new_checkpoint

from .declared_desk import TEAMS, WORDS
from .verdicts import (
    brokers,
    documents,
    doors,
    generators,
    knowledge,
    learners,
    models,
    queries,
    retention,
    sinks,
    sources,
    teachers,
)
from .verdicts.case import Case, Elsewhere, Still
from .verdicts.fields import all_fields
from .verdicts.house import House

ELSEWHERE: tuple[Elsewhere, ...] = (*models.ELSEWHERE, *brokers.ELSEWHERE)
CASES: tuple[Case, ...] = (
    *sources.CASES,
    *documents.CASES,
    *generators.CASES,
    *doors.CASES,
    *sinks.CASES,
    *learners.CASES,
    *retention.CASES,
    *queries.CASES,
    *teachers.CASES,
    *knowledge.CASES,
    *models.CASES,
)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdicts") / "model"
    words = [*(f"my {word} 0 1 2 3 4 5 6" for word in WORDS), *TEAMS]
    new_checkpoint(folder, size="tiny", text=words * 5, seed=1, vocabulary=512)
    return folder


def test_every_field_of_every_kind_has_one_case() -> None:
    """A new field fails here until it has one."""
    table = [(one.kind, one.path, one.variant) for one in (*CASES, *models.STILL, *ELSEWHERE, *brokers.CASES)]
    assert sorted(all_fields() - set(table)) == [], "without a case"
    assert sorted(set(table) - all_fields()) == [], "no such field"
    assert len(table) == len(set(table)), "twice"


@pytest.mark.parametrize("one", [pytest.param(one, id=f"{one.kind} {one.path}") for one in models.STILL])
def test_a_field_without_effect_changes_nothing_that_runs(one: Still, tmp_path: Path, base: Path) -> None:
    told, before, after = planned(one, tmp_path, base)
    assert told == "no effect"
    assert before == after


@pytest.mark.parametrize("one", [pytest.param(one, id=f"{one.kind} {one.variant} {one.path}") for one in ELSEWHERE])
def test_a_field_that_acts_outside_reaches_what_runs_and_a_test_observes_it(
    one: Elsewhere, tmp_path: Path, base: Path
) -> None:
    told, before, after = planned(one, tmp_path, base)
    assert told != "no effect"
    assert before != after
    path, _, name = one.test.partition("::")
    assert f"\ndef {name}(" in (Path(__file__).parents[2] / path).read_text("utf-8"), one.test


def planned(one: Still | Elsewhere, folder: Path, base: Path) -> tuple[str, Any, Any]:
    """The verdict, and the stages that are planned before and after the change."""
    house = models.everything(folder, base)
    try:
        house.apply()
        before = house.topology().specs
        title = next(name for name in house.docs if name.startswith(one.kind) and one.variant.partition("/")[0] in name)
        house.edit(models.change_of(one), title)
        resource = next(it for it in house.resources() if f"{it.kind}/{it.name}" == title)
        verdict = KINDS[one.kind].verdict(one.path, one.variant).text
        house.apply()
        assert [it.raw for it in house.store.all() if it.id == resource.id] == [resource.raw]
        return verdict, before, house.topology().specs
    finally:
        house.close()


@pytest.fixture
def house(case: Case, tmp_path: Path, base: Path) -> Iterator[House]:
    found = case.setting.open(tmp_path, base)
    found.edit(case.given, case.of)
    yield found
    found.close()


@pytest.mark.slow  # the table as a whole
@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in CASES])
def test_a_changed_field_does_what_its_verdict_says(case: Case, house: House) -> None:
    check(case, house)


def check(case: Case, house: House) -> None:
    """Runs, changes the field, and runs again; what is seen changes as the verdict says, and not before a reset that it needs."""
    run(case, house)
    seen = case.see(house)
    assert case.before is None or (case.before(seen) if callable(case.before) else seen == case.before), seen
    house.edit(case.change(house) if callable(case.change) else case.change, case.of)
    reset = verdict_told(case, house)
    if reset:
        nothing_happens(case, house, seen)
    house.apply(reset=reset)
    run(case, house)
    holds(case, seen, case.see(house))


@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in (*brokers.CASES, brokers.INPUT)])
def test_a_changed_field_of_a_broker_s_topic_does_what_its_verdict_says(
    case: Case, house: House, kafka_address: str
) -> None:
    brokers.on_broker(house, kafka_address)
    check(case, house)


def run(case: Case, house: House) -> None:
    """Whatever a stage reads, its description names: a group that it does not name would be released while the stage runs."""
    if not house.fed:
        house.apply()
    case.setting.feed(house)
    house.fed += 1
    house.lessons.clear()
    house.run()
    running = {one.name for one in house.topology().specs}
    first_run = house.runs == 1
    assert not first_run or [one for one in undeclared(house.log, house.topology()) if one.group in running] == []


def verdict_told(case: Case, house: House) -> bool:
    """Whether it needs a reset; `plan` tells the verdict of the field."""
    title = case.of or house.title
    resource = next(one for one in house.resources() if f"{one.kind}/{one.name}" == title)
    kind = KINDS[resource.kind]
    verdict = kind.verdict(case.path, kind.choose(Draft(resource.id, dict(resource.raw))))
    told = [
        field.verdict.text for change in house.told().changes if change.id == resource.id for field in change.fields
        if tells_of(field.path, case.path)
    ]  # fmt: skip
    assert verdict.text in told, (told, case.path)
    return verdict.reset is not None


def tells_of(told: str, field: str) -> bool:
    """`schema.text.type` and `promptTemplate[0].userQuestion` tell of fields; `schema` of an item that came or went."""
    steps = iter(place := [step.partition("[")[0] for step in told.split(".")])
    return all(step in steps for step in field.split(".")) or field.startswith(f"{'.'.join(place)}.")


def nothing_happens(case: Case, house: House, seen: Any) -> None:
    """It is not applied before a person asks for the reset."""
    before = {one.id: one.raw for one in house.store.all()}
    assert house.apply().waiting
    assert {one.id: one.raw for one in house.store.all()} == before
    house.run()
    assert case.see(house) == seen


def holds(case: Case, before: Any, after: Any) -> None:
    if callable(case.after):
        assert case.after(before, after), (before, after)
    else:
        assert after == case.after
