"""What a simulated teacher bills is found in the ledger, and a ledger that is wrong is found out."""

import sqlite3

import pytest

from headrace.teachers import answer_cache, ledger
from headrace.teachers.answer_cache import AskRecord
from headrace.testing.simulation.inputs import draw_inputs
from headrace.testing.simulation.simulation import SEEDS_OF_ONE_INPUT, Simulation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return Simulation(tmp_path_factory.mktemp("simulation"))


@pytest.fixture(scope="module")
def asks(simulation: Simulation) -> int:
    """A seed whose inputs ask a teacher."""
    number = next(one for one in range(20) if draw_inputs(one).shape.teacher)
    return number * SEEDS_OF_ONE_INPUT


def test_a_seed_does_the_same_each_time(simulation: Simulation, asks: int):
    first, again = simulation.run(asks), simulation.run(asks)
    assert not first.wrong
    assert first.did == again.did
    assert first.did["teacher goes on"]


def test_a_call_that_is_charged_short_is_found(simulation: Simulation, asks: int, monkeypatch: pytest.MonkeyPatch):
    simulation.undisturbed(asks // SEEDS_OF_ONE_INPUT)
    monkeypatch.setattr(ledger, "charge", lambda db, reservation, _: ledger.release(db, reservation))
    found = simulation.run(asks).wrong
    assert any("calls billed" in line for line in found)


def test_an_answer_that_is_not_found_again_is_found(simulation: Simulation, asks: int, monkeypatch: pytest.MonkeyPatch):
    def nothing(_db: sqlite3.Connection, _ask: AskRecord) -> None:
        return None

    simulation.undisturbed(asks // SEEDS_OF_ONE_INPUT)
    monkeypatch.setattr(answer_cache, "cached", nothing)
    monkeypatch.setattr(answer_cache, "given", nothing)
    found = simulation.run(asks).wrong
    assert any("are paid for" in line for line in found)
