"""The list of versions that people see."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.control.versions import list_versions
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, TopicLog, TopicSpec
from headrace.promotion import registry
from headrace.promotion.registry import Registry, Version
from headrace.testing.resource_ids import finetuner_id


@pytest.fixture
def log(tmp_path: Path) -> Generator[TopicLog]:
    with closing(open_log(tmp_path)) as found:
        yield found


def test_a_version_is_listed_with_the_offset_of_the_last_example_it_learned_and_the_base_with_none(log: TopicLog):
    log.ensure_topic(TopicSpec("red.desk.commands"))
    found = Registry.of_base("", "", 0).with_version(Version("v1", "digest", "v0", 99, 0, "")).promote("v1")
    key, value, expected = registry.save(found, finetuner_id("desk", "red"), 0)
    log.commit(Commit(state={key: value}, expect={key: expected}))
    rows = [
        (row["namespace"], row["model"], row["version"], row["alias"], row["cutOffset"]) for row in list_versions(log)
    ]
    assert rows == [("red", "desk", "v0", "previous", -1), ("red", "desk", "v1", "served", 99)]
    assert not any("examples" in row for row in list_versions(log))
