"""A change that needs a reset waits, with all of its resource, until a person asks for the reset."""

from pathlib import Path

import pytest

from headrace.control.declared_changes import Declared, apply_declared, declared_changes, reset_needed
from headrace.control.resource_store import ResourceStore
from headrace.foundation.settings import Settings
from headrace.kinds.catalog import Resource, read_text
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, StateKey, TopicLog
from headrace.testing.clock import VirtualClock

TEXT = (Path(__file__).parents[1] / "kinds" / "base.yaml").read_text("utf-8")


@pytest.fixture
def log(tmp_path: Path) -> TopicLog:
    return open_log(tmp_path / "state")


@pytest.fixture
def store(log: TopicLog) -> ResourceStore:
    store = ResourceStore(log)
    store.apply(resources(), 0)
    return store


def resources(*changes: tuple[str, str]) -> list[Resource]:
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    loaded = read_text(text, "headrace.yaml")
    assert loaded.mistakes == []
    return loaded.resources


def ran(log: TopicLog, *stages: str) -> None:
    log.commit(Commit(state={StateKey(stage, "state"): b"{}" for stage in stages}))


def found(log: TopicLog, store: ResourceStore, declared: list[Resource], tmp_path: Path) -> Declared:
    return declared_changes(store.all(), declared, log, Settings(state=tmp_path / "state"))


LORA = ("method: full", "method: lora")
BATCH = ("batchSize: 16", "batchSize: 32")
REPLICAS = ("replicas: 1", "replicas: 2")


def test_nothing_of_a_resource_that_needs_a_reset_is_applied_and_the_others_are(
    log: TopicLog, store: ResourceStore, tmp_path: Path
) -> None:
    ran(log, "train/default.desk")
    before = {one.id: one.raw for one in store.all()}
    declared = resources(LORA, BATCH, REPLICAS)
    told = found(log, store, declared, tmp_path)
    apply_declared(told, declared, store, VirtualClock(), reset=False)
    after = {one.id: one.raw for one in store.all()}
    assert {one.kind for one in before if before[one] != after[one]} == {"BaseModel"}
    assert [one.id.kind for one in told.waiting] == ["StreamFinetuner"]


def test_the_error_names_the_field_the_reason_and_the_command(
    log: TopicLog, store: ResourceStore, tmp_path: Path
) -> None:
    ran(log, "train/default.desk")
    error = reset_needed(found(log, store, resources(LORA, BATCH), tmp_path))
    assert error.exit_code == 2
    said = str(error)
    assert "StreamFinetuner/desk in default was not applied" in said
    assert "learning.method: full → lora (needs a reset from model)" in said
    assert "batchSize" not in said
    assert "headrace reset StreamFinetuner/desk --from model -n default" in said
    assert "--reset" in said


def test_what_never_ran_has_nothing_to_reset_and_is_applied_at_once(
    log: TopicLog, store: ResourceStore, tmp_path: Path
) -> None:
    ran(log, "ingest/default.questions", "transform/default.desk")
    declared = resources(LORA)
    told = found(log, store, declared, tmp_path)
    assert told.waiting == ()
    apply_declared(told, declared, store, VirtualClock(), reset=False)
    assert [one.raw for one in store.all() if one.kind == "StreamFinetuner"] == [declared[-1].raw]


@pytest.mark.parametrize(
    ("old", "new", "stage", "command"),
    [
        ("{name: text, type: STRING}", "{name: text, type: CHAR(5)}", "ingest/default.questions", "StreamConnector/questions --from source"),
        ("path: models/tiny", "path: models/other", "train/default.desk", "StreamFinetuner/desk --from model"),
        ("method: full", "method: lora, seed: 3", "train/default.desk", "StreamFinetuner/desk --from model"),
    ],
)  # fmt: skip
def test_each_reset_that_is_due_is_named_once(
    old: str, new: str, stage: str, command: str, log: TopicLog, store: ResourceStore, tmp_path: Path
) -> None:
    ran(log, stage)
    new = new.replace(", seed", "\n    seed")
    told = found(log, store, resources((old, new)), tmp_path)
    assert [one.command for one in told.resets] == [f"headrace reset {command} -n default"]


def test_a_change_that_is_taken_back_is_no_change(log: TopicLog, store: ResourceStore, tmp_path: Path) -> None:
    ran(log, "train/default.desk")
    declared = resources(LORA)
    apply_declared(found(log, store, declared, tmp_path), declared, store, VirtualClock(), reset=False)
    again = found(log, store, resources(), tmp_path)
    assert {one.action for one in again.changes} == {"unchanged"}
