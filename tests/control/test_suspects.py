"""A stage that kills its process, again and again, is held back; the stages beside it go on."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.connectors.sink import SinkOptions
from headrace.connectors.source import SourceOptions
from headrace.control.at_work import AtWork, was_at_work
from headrace.control.health import failing
from headrace.control.supervisor import Supervisor
from headrace.control.suspects import HELD_FROM, Suspects
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.spec import ingest_spec
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.sink.spec import sink_spec
from headrace.testing.builders import append, new_records
from headrace.testing.resource_ids import connector_id

COUNTING = SourceOptions(
    connector_id("numbers"), "generator", {"rate": 50, "fields": [{"name": "n", "kind": "sequence"}]}
)
POISONED = ingest_spec(IngestOptions(COUNTING))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    with closing(open_log(tmp_path)) as opened:
        yield opened


def test_a_mark_tells_once_that_the_process_died_within_a_step(tmp_path: Path) -> None:
    mark = AtWork(tmp_path, "train/default.desk")
    assert not was_at_work(tmp_path, "train/default.desk")
    with mark:
        assert was_at_work(tmp_path, "train/default.desk")
        assert not was_at_work(tmp_path, "train/default.desk")
    mark.close()
    assert not was_at_work(tmp_path, "train/default.desk")
    assert not was_at_work(tmp_path, "train/default.other")


def test_a_stage_is_held_back_from_its_second_death_in_a_row_for_longer_each_time() -> None:
    suspects = Suspects()
    assert suspects.died(["ingest/default.numbers"], 0.0) == {}
    assert suspects.died([], 1.0) == {}, "it died elsewhere: the row ends"
    pauses = [suspects.died(["ingest/default.numbers"], float(now)) for now in range(4)]
    assert [len(one) for one in pauses] == [int(n + 1 >= HELD_FROM) for n in range(4)]
    times = [time for one in pauses for time in one.values()]
    assert times == sorted(set(times))
    assert suspects.allowed((POISONED,), 4.0) == ()
    assert suspects.holds
    assert suspects.allowed((POISONED,), 3.0 + times[-1]) == (POISONED,)
    assert not suspects.holds


@pytest.mark.kill
def test_the_stages_beside_it_go_on_and_its_resource_says_why(
    log: TopicLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process of the role dies at the first commit of the source."""
    monkeypatch.setenv("HEADRACE_FAILPOINT", "ingest.commit.before:1")
    out = SinkOptions(connector_id("out"), "file", {"path": str(tmp_path / "out"), "format": "json"})
    sink = sink_spec(SinkStageOptions(out, "rows"))
    append(log, "rows", new_records([0]))
    supervisor = Supervisor((POISONED, sink), log, tmp_path)
    try:
        supervisor.start()
        deadline = SYSTEM_CLOCK.monotonic() + 60
        number = 0
        while log.offset(sink.name, "rows") < 5 or number < 5 or not failing(log, [POISONED], 0):
            supervisor.poll()
            SYSTEM_CLOCK.sleep(0.02)
            if log.offset(sink.name, "rows") > number:
                number += 1
                append(log, "rows", new_records([number]))
            assert SYSTEM_CLOCK.monotonic() < deadline
        [failed] = failing(
            log, [POISONED], 0
        )  # the other may have been within a step too, and is held back for as long
        assert failed.failures >= HELD_FROM
        assert "in a row within its step" in failed.message
        assert "killed by SIGKILL" in failed.message
    finally:
        supervisor.stop()
