"""Versions and the alias move by compare-and-set; names are never used twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.events.decision import Bound, Decision
from headrace.foundation.errors import ConflictError, CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, TopicLog
from headrace.promotion import registry as registries
from headrace.promotion.registry import Registry, Version
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import finetuner_id


def version(number: int) -> Version:
    evidence = Decision(
        "promoted", f"v{number}", "better", 1, 9, Bound(0.1, 0.02, 0.2, 9, 0.05), details={"attempt": 1}
    )
    return Version(f"v{number}", f"d{number}", f"v{number - 1}", 100 * number, 5, f"sha{number}", evidence)


def registry_of(count: int) -> Registry:
    registry = Registry.of_base("", "sha0", 0)
    for number in range(1, count + 1):
        registry = registry.with_version(version(number)).promote(f"v{number}")
    return registry


@pytest.fixture
def log(tmp_path: Path, clock: VirtualClock) -> Iterator[TopicLog]:
    opened = open_log(tmp_path, clock=clock)
    yield opened
    opened.close()


def store(log: TopicLog, registry: Registry, expected: int = 0) -> None:
    key, value, expected = registries.save(registry, finetuner_id("desk"), expected)
    log.commit(Commit(state={key: value}, expect={key: expected}))


def test_the_base_is_served_until_something_better_is() -> None:
    registry = Registry.of_base("digest", "sha", 7)
    assert (registry.served, registry.previous, registry.next_version()) == ("v0", None, "v1")
    assert registry.promote("v0") is registry


def test_promote_and_rollback_move_the_alias_once() -> None:
    registry = registry_of(2)
    assert (registry.served, registry.previous) == ("v2", "v1")
    back = registry.rollback()
    assert (back.served, back.previous) == ("v1", None)
    with pytest.raises(InvalidDeclarationError, match="no previous version"):
        back.rollback()


def test_unknown_versions_are_named_with_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="Use one of: v0, v1"):
        registry_of(1).promote("v7")


def test_pruning_keeps_the_newest_the_base_the_served_and_the_previous() -> None:
    registry = registry_of(8).promote("v2").promote("v3")
    pruned, dropped = registry.prune(2)
    assert [kept.name for kept in pruned.versions] == ["v0", "v2", "v3", "v7", "v8"]
    assert [gone.name for gone in dropped] == ["v1", "v4", "v5", "v6"]
    assert pruned.next_version() == "v9"
    assert pruned.prune(0)[0].served == "v3"


def test_another_base_is_a_version_of_its_own_and_served() -> None:
    registry = registry_of(3).with_base("other", "sha4", 9)
    assert (registry.served, registry.previous, registry.base, registry.next_version()) == ("v4", None, "v4", "v5")
    assert [one.name for one in registry.versions] == ["v0", "v1", "v2", "v3", "v4"]
    pruned, dropped = registry.prune(1)
    assert ([one.name for one in pruned.versions], len(dropped)) == (["v4"], 4)


def test_names_are_given_in_order() -> None:
    with pytest.raises(ValueError, match="next version must be v1"):
        Registry.of_base("", "", 0).with_version(version(3))


def test_it_comes_back_from_the_log_as_it_was(log: TopicLog) -> None:
    assert registries.load(log, finetuner_id("desk")) is None
    store(log, registry_of(3))
    assert registries.load(log, finetuner_id("desk")) == (registry_of(3), 1)
    assert registries.load(log, finetuner_id("des")) is None, "a name that begins the same is another finetuner's"


def test_a_writer_who_has_not_seen_the_last_move_is_refused(log: TopicLog) -> None:
    store(log, registry_of(1))
    store(log, registry_of(2), expected=1)
    with pytest.raises(ConflictError):
        store(log, registry_of(1), expected=1)


def test_a_registry_that_does_not_parse_is_corrupt(log: TopicLog) -> None:
    key = registries.registry_key(finetuner_id("desk"))
    log.commit(Commit(state={key: b"{"}))
    with pytest.raises(CorruptDataError, match="desk"):
        registries.load(log, finetuner_id("desk"))
