"""Versions and the alias move by compare-and-set; names are never used twice; a person's move is recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.events import codec, topics
from headrace.events.decision import Bound, Command, Decision
from headrace.foundation.errors import ConflictError, CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, TopicLog
from headrace.promotion import registry as registries
from headrace.promotion.registry import Registry, Version
from headrace.testing.clock import VirtualClock


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
    key, value, expected = registries.save(registry, "default", "desk", expected)
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
    with pytest.raises(NotFoundError, match="use one of: v0, v1"):
        registry_of(1).promote("v7")


def test_pruning_keeps_the_newest_the_base_the_served_and_the_previous() -> None:
    registry = registry_of(8).promote("v2").promote("v3")
    pruned, dropped = registry.prune(2)
    assert [kept.name for kept in pruned.versions] == ["v0", "v2", "v3", "v7", "v8"]
    assert [gone.name for gone in dropped] == ["v1", "v4", "v5", "v6"]
    assert pruned.next_version() == "v9"
    assert pruned.prune(0)[0].served == "v3"


def test_names_are_given_in_order() -> None:
    with pytest.raises(ValueError, match="next version is v1"):
        Registry.of_base("", "", 0).with_version(version(3))


def test_it_comes_back_from_the_log_as_it_was(log: TopicLog) -> None:
    assert registries.load(log, "default", "desk") is None
    store(log, registry_of(3))
    assert registries.load(log, "default", "desk") == (registry_of(3), 1)
    assert registries.load(log, "default", "des") is None, "a name that begins the same is another finetuner's"


def test_a_writer_who_has_not_seen_the_last_move_is_refused(log: TopicLog) -> None:
    store(log, registry_of(1))
    store(log, registry_of(2), expected=1)
    with pytest.raises(ConflictError):
        store(log, registry_of(1), expected=1)


def test_a_persons_promotion_moves_the_alias_at_once_and_is_recorded(log: TopicLog, clock: VirtualClock) -> None:
    store(log, registry_of(2))
    moved = registries.promote_now(log, "default", "desk", "v1", "v2 is rude", clock=clock)
    found = registries.load(log, "default", "desk")
    assert found
    assert found[0] == moved
    assert (moved.served, moved.previous) == ("v1", "v2")
    (record,) = log.read(topics.commands("default", "desk"), 0)
    assert codec.decode(record, Command) == Command("promote", "v1", "v2 is rude")
    assert record.event_time == clock.now_ms()


def test_without_a_name_the_newest_is_promoted_and_the_previous_rolled_back_to(
    log: TopicLog, clock: VirtualClock
) -> None:
    store(log, registry_of(3).promote("v1"))
    assert registries.promote_now(log, "default", "desk", None, "", clock=clock).served == "v3"
    assert registries.rollback_now(log, "default", "desk", "worse", clock=clock).served == "v1"
    commands = [codec.decode(record, Command) for record in log.read(topics.commands("default", "desk"), 0)]
    assert [(command.action, command.version) for command in commands] == [("promote", "v3"), ("rollback", "v1")]


def test_two_people_at_once_both_succeed_one_after_the_other(log: TopicLog, clock: VirtualClock) -> None:
    store(log, registry_of(2))
    raced = _Raced(log, lambda: store(log, registry_of(2).promote("v0"), expected=1))
    moved = registries.promote_now(raced, "default", "desk", "v1", "", clock=clock)
    assert (moved.served, moved.previous) == ("v1", "v0"), "the move was made anew from what the other had left"
    assert len(log.read(topics.commands("default", "desk"), 0)) == 1


def test_a_finetuner_without_versions_says_so(log: TopicLog) -> None:
    with pytest.raises(NotFoundError, match="no versions yet"):
        registries.rollback_now(log, "default", "desk", "")
    assert log.read(topics.commands("default", "desk"), 0) == []


def test_a_registry_that_does_not_parse_is_corrupt(log: TopicLog) -> None:
    key = registries.registry_key("default", "desk")
    log.commit(Commit(state={key: b"{"}))
    with pytest.raises(CorruptDataError, match="desk"):
        registries.load(log, "default", "desk")


class _Raced:
    """The real log, on which somebody else commits just before this caller's first commit."""

    def __init__(self, log: TopicLog, rival: object) -> None:
        self._log = log
        self._rival = rival

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def commit(self, commit: Commit) -> object:
        if self._rival:
            rival, self._rival = self._rival, None
            rival()
        return self._log.commit(commit)
