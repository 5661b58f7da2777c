"""A person's promotion or roll-back moves the alias at once and is recorded for the trainer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.events import codec, topics
from headrace.events.decision import Command
from headrace.foundation.errors import InvalidDeclarationError, NotFoundError
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, TopicLog
from headrace.promotion import registry as registries
from headrace.promotion.registry import Registry, Version
from headrace.stages.train.alias_commands import promote_now, rollback_now
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import finetuner_id


def registry_of(count: int) -> Registry:
    registry = Registry.of_base("", "sha0", 0)
    for number in range(1, count + 1):
        version = Version(f"v{number}", f"d{number}", f"v{number - 1}", 100 * number, 5, f"sha{number}")
        registry = registry.with_version(version).promote(f"v{number}")
    return registry


@pytest.fixture
def log(tmp_path: Path, clock: VirtualClock) -> Iterator[TopicLog]:
    opened = open_log(tmp_path, clock=clock)
    yield opened
    opened.close()


def store(log: TopicLog, registry: Registry, expected: int = 0) -> None:
    key, value, expected = registries.save(registry, finetuner_id("desk"), expected)
    log.commit(Commit(state={key: value}, expect={key: expected}))


def test_a_persons_promotion_moves_the_alias_at_once_and_is_recorded(log: TopicLog, clock: VirtualClock) -> None:
    store(log, registry_of(2))
    moved = promote_now(log, finetuner_id("desk"), "v1", "v2 is rude", clock=clock)
    found = registries.load(log, finetuner_id("desk"))
    assert found
    assert found[0] == moved
    assert (moved.served, moved.previous) == ("v1", "v2")
    (record,) = log.read(topics.commands(finetuner_id("desk")), 0)
    assert codec.decode(record, Command) == Command("promote", "v1", "v2 is rude")
    assert record.event_time == clock.now_ms()


def test_without_a_name_the_newest_is_promoted_and_the_previous_rolled_back_to(
    log: TopicLog, clock: VirtualClock
) -> None:
    store(log, registry_of(3).promote("v1"))
    assert promote_now(log, finetuner_id("desk"), None, "", clock=clock).served == "v3"
    assert rollback_now(log, finetuner_id("desk"), "worse", clock=clock).served == "v1"
    commands = [codec.decode(record, Command) for record in log.read(topics.commands(finetuner_id("desk")), 0)]
    assert [(command.action, command.version) for command in commands] == [("promote", "v3"), ("rollback", "v1")]


def test_two_people_at_once_both_succeed_one_after_the_other(log: TopicLog, clock: VirtualClock) -> None:
    store(log, registry_of(2))
    raced = _Raced(log, lambda: store(log, registry_of(2).promote("v0"), expected=1))
    moved = promote_now(raced, finetuner_id("desk"), "v1", "", clock=clock)
    assert (moved.served, moved.previous) == ("v1", "v0"), "the move was made again from what the other had left"
    assert len(log.read(topics.commands(finetuner_id("desk")), 0)) == 1


def test_a_finetuner_without_versions_says_so(log: TopicLog) -> None:
    with pytest.raises(NotFoundError, match="no versions yet"):
        rollback_now(log, finetuner_id("desk"), "")
    assert log.read(topics.commands(finetuner_id("desk")), 0) == []


def test_a_version_of_a_former_base_is_not_served_again(log: TopicLog) -> None:
    store(log, registry_of(2).with_base("other", "sha3", 9))
    with pytest.raises(InvalidDeclarationError, match="a base model other than"):
        promote_now(log, finetuner_id("desk"), "v2", "")
    with pytest.raises(InvalidDeclarationError, match="no previous version"):
        rollback_now(log, finetuner_id("desk"), "")
    assert promote_now(log, finetuner_id("desk"), "v3", "").served == "v3"


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
