"""A checkpoint that is not whole is passed over for the one before; nothing is published twice, nothing is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.foundation.errors import CorruptDataError
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.train.alias_commands import rollback_now
from headrace.stages.train.train_state import read_train_state
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.pipeline import Pipeline, differences, snapshot
from headrace.testing.resource_ids import finetuner_id

pytestmark = pytest.mark.slow


def run_to_death(dead: Pipeline) -> None:
    dead.open()
    dead.run()


def damage(state: Path, *, newest: int = 1) -> None:
    """Turns one byte of the newest checkpoints around."""
    log = open_log(state)
    found = read_train_state(log, finetuner_id("desk"))
    log.close()
    assert found
    for checkpoint in found.checkpoints[-newest:]:
        file = state / "checkpoints" / "default.desk" / checkpoint.digest / "learner" / "model.safetensors"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))


@pytest.mark.parametrize("nth", [5, 9, 13, 17])
def test_a_damaged_checkpoint_costs_time_and_nothing_else(nth: int, scenario: Callable[[str], Any], tmp_path: Path):
    known = scenario("chain")
    found = known.copy(tmp_path / "job")
    dead = known.pipeline(found, tmp_path / "job")
    try:
        with killing(Kill("train.commit.after", nth)), pytest.raises(Killed):
            run_to_death(dead)
        damage(tmp_path / "job" / "state")
        with known.pipeline(found, tmp_path / "job", holder="another") as alive:
            alive.run()
        assert differences(snapshot(found, tmp_path / "job" / "state"), known.undisturbed) == []
    finally:
        dead.close()


def test_without_any_whole_checkpoint_it_says_what_to_do(scenario: Callable[[str], Any], tmp_path: Path):
    known = scenario("chain")
    found = known.copy(tmp_path / "job")
    dead = known.pipeline(found, tmp_path / "job")
    try:
        with killing(Kill("train.commit.after", 9)), pytest.raises(Killed):
            run_to_death(dead)
        damage(tmp_path / "job" / "state", newest=2)
        alive = known.pipeline(found, tmp_path / "job", holder="another")
        with pytest.raises(CorruptDataError, match="no checkpoint of desk is whole"):
            alive.open()
        alive.close()
    finally:
        dead.close()


def take_back(log: TopicLog) -> None:
    rollback_now(log, finetuner_id("desk"), "the customers complain")


def test_a_person_s_command_is_taken_up_again_at_the_place_where_it_was(scenario: Callable[[str], Any], tmp_path: Path):
    """The checkpoint that holds the roll-back is lost: what is learned again is what was learned, the roll-back at its place."""
    known = scenario("chain")
    twins = []
    for name in ("undisturbed", "damaged"):
        folder = tmp_path / name
        found = known.copy(folder)
        dead = known.pipeline(found, folder)
        try:
            with killing(Kill("train.commit.after", 9)), pytest.raises(Killed):
                run_to_death(dead)
        finally:
            dead.close()
        log = open_log(folder / "state")
        take_back(log)
        log.close()
        stopped = known.pipeline(found, folder, holder="two")
        try:
            with killing(Kill("train.commit.after", 1)), pytest.raises(Killed):
                run_to_death(stopped)
        finally:
            stopped.close()
        if name == "damaged":
            damage(folder / "state")
        with known.pipeline(found, folder, holder="three") as alive:
            alive.run()
        twins.append(snapshot(found, folder / "state"))
    assert any(b'"manual":true' in record[3] for record in twins[0]["default.desk.decisions"])
    assert differences(*twins) == []
