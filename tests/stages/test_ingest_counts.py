"""What ingest says of a source's rows, its repeated ids and its dead letters."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.connectors.http.inbox import accept, inbox_topic
from headrace.connectors.source import SourceOptions
from headrace.events import codec, topics
from headrace.events.dead_letter import DeadLetter
from headrace.foundation.errors import FinalError, UnavailableError
from headrace.foundation.failpoints import armed
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage, read_state
from headrace.stages.stage import read_statuses
from headrace.testing.clock import VirtualClock
from headrace.testing.failpoints import Killed
from headrace.testing.resource_ids import connector_id

EVENTS = topics.events(connector_id("orders"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    found = open_log(tmp_path / "state")
    yield found
    found.close()


def file_source(path: Path, *, follow: bool = True, **more: object) -> SourceOptions:
    given = {"path": path.name, "follow": follow, **more}
    return SourceOptions(connector_id("orders"), "file", given, id_columns=("id",), base_dir=path.parent)


def stage(log: TopicLog, source: SourceOptions) -> IngestStage:
    return IngestStage(IngestOptions(source, unique_ids=bool(source.id)), log, "test", VirtualClock())


def ingested(log: TopicLog, source: SourceOptions) -> None:
    """Reads until nothing is new."""
    reader = stage(log, source)
    try:
        while reader.step():
            pass
        reader.step()
    finally:
        reader.close()


def figures(log: TopicLog) -> tuple[int, int, int]:
    """rows, duplicates, dead letters, as `get` shows them; the same must stand in the state."""
    [said] = [one.progress for one in read_statuses(log) if one.stage == "ingest"]
    state = read_state(log, connector_id("orders"))
    assert state is not None
    assert (said["rows"], said["duplicates"], said["deadLetters"]) == (state.rows, state.duplicates, state.dead)
    return state.rows, state.duplicates, state.dead


def rows_in(log: TopicLog) -> int:
    return sum(record.kind != codec.CONTROL for record in log.read(EVENTS, 0))


def die() -> None:
    raise Killed


def lines(*ids: str) -> str:
    return "".join(json.dumps({"id": one, "n": 1}) + "\n" for one in ids)


def test_a_repeated_id_is_counted_as_a_duplicate_and_not_as_a_row(tmp_path: Path, log: TopicLog) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(lines("a", "b", "a") + "no JSON\n" + lines("c"))
    ingested(log, file_source(file))
    assert (figures(log), rows_in(log)) == ((3, 1, 1), 3)
    with file.open("a") as more:
        more.write(lines("b", "d", "d"))
    ingested(log, file_source(file))
    assert (figures(log), rows_in(log)) == ((4, 3, 1), 4)


def test_a_file_of_repeated_ids_alone_has_no_row(tmp_path: Path, log: TopicLog) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id,n\nx,1\ny,2\n")
    ingested(log, SourceOptions(connector_id("orders"), "file", {"path": str(tmp_path / "*.csv")}, id_columns=("id",)))
    assert (figures(log), rows_in(log)) == ((2, 2, 0), 2)


def test_rows_without_a_declared_id_are_never_duplicates(tmp_path: Path, log: TopicLog) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(lines("a", "a"))
    given = {"path": file.name}
    ingested(log, SourceOptions(connector_id("orders"), "file", given, base_dir=tmp_path))
    assert (figures(log), rows_in(log)) == ((2, 0, 0), 2)


@pytest.mark.parametrize("point", ["ingest.commit.before", "ingest.commit.after", "ingest.confirm.before"])
def test_the_figures_are_right_after_a_kill(tmp_path: Path, log: TopicLog, point: str) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(lines("a", "b"))
    ingested(log, file_source(file))
    with file.open("a") as more:
        more.write(lines("b", "a", "c"))
    with armed(point, die), pytest.raises(Killed):
        ingested(log, file_source(file))
    ingested(log, file_source(file))
    assert (figures(log), rows_in(log)) == ((3, 2, 0), 3)


def test_rows_that_were_replayed_are_no_rows_of_the_source(tmp_path: Path, log: TopicLog) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(lines("a", "b"))
    ingested(log, file_source(file))
    again = log.read(EVENTS, 0)[0]
    log.commit(Commit([Append(EVENTS, [NewRecord("replayed", again.kind, again.value, again.event_time)])]))
    ingested(log, file_source(file))
    assert figures(log) == (2, 0, 0)


def test_a_pushed_id_that_the_inbox_forgot_is_a_duplicate(log: TopicLog) -> None:
    source = SourceOptions(connector_id("orders"), "http", {}, id_columns=("id",))
    inbox = replace(inbox_topic(source), unique_ids=False)  # as one that knows no id any more
    log.ensure_topic(inbox)
    for one in ("a", "b", "b", "c"):
        log.commit(Commit([Append(inbox.name, accept(source, lines(one).encode(), "application/json", None, 1))]))
    ingested(log, source)
    assert (figures(log), rows_in(log)) == ((3, 1, 0), 3)


def test_a_row_that_no_record_can_hold_is_a_dead_letter(tmp_path: Path, log: TopicLog) -> None:
    moments = pa.array([0, 300_000_000_000_000, 1], pa.timestamp("ms"))
    pq.write_table(pa.table({"id": ["a", "b", "c"], "at": moments}), tmp_path / "orders.parquet")
    ingested(log, file_source(tmp_path / "orders.parquet", follow=False))
    assert (figures(log), rows_in(log)) == ((2, 0, 1), 2)
    [letter] = [codec.decode(one, DeadLetter) for one in log.read(topics.dead(connector_id("orders")), 0)]
    assert letter.code == "unreadable"
    assert "orders:orders.parquet@2" in letter.reason
    assert "11476" in letter.payload


def test_a_file_that_shrank_is_a_condition_that_says_what_to_do(tmp_path: Path, log: TopicLog) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(lines("a", "b"))
    ingested(log, file_source(file))
    file.write_text(lines("a"))
    with pytest.raises(FinalError, match="headrace reset StreamConnector/orders -n default --from source"):
        ingested(log, file_source(file))
    [status] = [one for one in read_statuses(log) if one.stage == "ingest"]
    [condition] = status.conditions
    assert (condition.type, condition.status, condition.reason) == ("Ingesting", "False", "Final")
    assert "has only" in condition.message
    assert (status.progress["rows"], rows_in(log)) == (2, 2)


def test_a_file_that_is_gone_for_a_moment_is_waited_for(tmp_path: Path, log: TopicLog) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(lines("a", "b"))
    ingested(log, file_source(file))
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match="Put it back"):
        ingested(log, file_source(file))
    (tmp_path / "elsewhere").rename(file)
    ingested(log, file_source(file))
    assert figures(log) == (2, 0, 0)
