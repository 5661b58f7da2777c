"""What a job's output proves of its inputs, and what is held for it."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from headrace.connectors.source import SourceOptions
from headrace.events import topics
from headrace.events.row_batch import RowBatch
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, ExternalTable, TopicLog, TopicSpec
from headrace.stages.ingest import stage as ingest
from headrace.stages.transform.job_inputs import JobInputs
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.running_job import Job
from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_job import JobOutput, JobSign, JobSpec
from headrace.testing.builders import append, new_record
from headrace.testing.engine_cases import START_MS, case_spec, corpus_batches
from headrace.testing.resource_ids import connector_id, finetuner_id

EVENTS = topics.events(connector_id("trades"))
STAGE = "transform/default.desk"
BARS = (
    "SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end"
)
OUT_OF_ORDER_MS = 10_000
"""As the corpus declares it."""


@pytest.fixture
def log(tmp_path: Path) -> TopicLog:
    found = open_log(tmp_path)
    found.ensure_topic(TopicSpec(EVENTS))
    return found


def feed(log: TopicLog, *seconds: int) -> None:
    """Rows at these times, and what ingest keeps of them."""
    append(log, EVENTS, [new_record(f"r{one}", event_time=START_MS + one * 1_000) for one in seconds])
    before = ingest.read_state(log, connector_id("trades")) or ingest.EMPTY
    latest = max([before.latest or 0, *(START_MS + one * 1_000 for one in seconds)])
    state = msgspec.msgpack.encode(msgspec.structs.replace(before, latest=latest))
    log.commit(Commit(state={ingest.state_key(connector_id("trades")): state}))


def job_of(sql: str) -> JobSpec:
    query = case_spec(sql)
    table = ExternalTable("kafka", "t", {})
    return JobSpec("job", query, DuckDBEngine().plan(query), {"trades": table}, {}, table)


def inputs_of(log: TopicLog) -> JobInputs:
    options = TransformOptions(
        finetuner_id("desk"), BARS, (StreamBinding("trades", EVENTS, SourceOptions(connector_id("trades"), "file")),)
    )
    return JobInputs(STAGE, options, log)


def windows(*ends: int, signs: tuple[JobSign, ...] = ()) -> JobOutput:
    """Rows of windows that end at these seconds."""
    batch: RowBatch = corpus_batches()["trades"].slice(0, len(ends))
    times = pa.array(np.array([START_MS + end * 1_000 - 1 for end in ends], np.int64))
    return JobOutput(replace(batch, event_times=times), signs=signs)


def test_a_window_proves_that_what_could_not_close_it_was_read(log: TopicLog):
    inputs, job = inputs_of(log), job_of(BARS)
    feed(log, 10, 20)
    inputs.look()
    feed(log, 69)
    inputs.look()
    feed(log, 70, 75)
    inputs.look()
    assert inputs.taken(job, windows(60), -1) == {}
    assert inputs.taken(job, JobOutput(None), -1) == {"trades": 3}
    assert inputs.taken(job, JobOutput(None), -1) == {}


def test_windows_that_an_end_closed_prove_nothing(log: TopicLog):
    inputs, job = inputs_of(log), job_of(BARS)
    feed(log, 10, 20)
    inputs.look()
    inputs.taken(job, windows(60, signs=(JobSign("trades", "end", 2),)), -1)
    assert inputs.taken(job, JobOutput(None), START_MS + 59_999) == {}
    inputs.taken(job, windows(60), START_MS + 59_999)
    assert inputs.taken(job, JobOutput(None), START_MS + 59_999) == {}
    inputs.taken(job, windows(120), START_MS + 59_999)
    assert inputs.taken(job, JobOutput(None), START_MS + 59_999) == {"trades": 2}


def test_a_row_of_a_query_without_windows_proves_that_it_was_read(log: TopicLog):
    inputs, job = inputs_of(log), job_of("SELECT id FROM trades")
    inputs.taken(job, JobOutput(None, furthest=6), -1)
    assert inputs.taken(job, JobOutput(None), -1) == {"trades": 7}


def test_inputs_are_held_from_where_a_query_begins_and_never_go_back_while_it_runs(log: TopicLog):
    inputs = inputs_of(log)
    feed(log, 1, 2, 3, 4)
    log.commit(Commit(offsets=inputs.begin({"trades": 1})))
    assert log.offset(STAGE, EVENTS) == 1
    log.commit(Commit(offsets=inputs.moved({"trades": 3})))
    assert inputs.moved({"trades": 2}) == []
    assert log.offset(STAGE, EVENTS) == 3
    assert inputs.hold() == []


def test_retention_drops_nothing_that_a_job_has_not_read(tmp_path: Path):
    log = open_log(tmp_path)
    log.ensure_topic(TopicSpec(EVENTS, retention_ms=0))
    inputs = inputs_of(log)
    log.commit(Commit(offsets=inputs.hold()))
    feed(log, 10, 20, 69, 70)
    log.trim(1 << 52)
    assert log.topic(EVENTS).start_offset == 0
    log.commit(Commit(offsets=inputs.moved({"trades": 3})))
    log.trim(1 << 52)
    assert log.topic(EVENTS).start_offset == 3


def test_what_a_job_was_started_from_is_unwanted_once_it_has_a_newer_checkpoint():
    job = Job("digest", "options", checkpoint="sp-1", started_from="sp-1")
    assert job.superseded("sp-1", 5).unwanted == []
    newer = job.superseded("chk-2", 7)
    assert (newer.unwanted, newer.started_from, newer.checkpoint, newer.reached) == (["sp-1"], "", "chk-2", 7)
    assert newer.superseded("chk-3", 8).unwanted == ["sp-1"]
    assert newer.places == ["sp-1", "chk-2"]
