"""A stage that reads a topic does not change how its writer keeps it."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.connectors.sink import SinkOptions
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.sink.stage import SinkStage
from headrace.testing.resource_ids import connector_id


@pytest.fixture
def log(tmp_path: Path) -> Generator[TopicLog]:
    with closing(open_log(tmp_path / "state")) as opened:
        yield opened


def test_a_sink_leaves_retention_and_unique_ids_of_its_topic_as_they_are(log: TopicLog, tmp_path: Path) -> None:
    spec = TopicSpec("default.questions.events", retention_ms=60_000, unique_ids=True, compacted=True)
    log.ensure_topic(spec)
    sink = SinkOptions(connector_id("copy"), "file", {"path": str(tmp_path / "out"), "format": "json"})

    SinkStage(SinkStageOptions(sink, spec.name), log, "me").close()

    assert log.topic(spec.name).spec == spec
