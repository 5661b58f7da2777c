"""A topic sent to a server: what a wrong login holds up, and the keys of batches after kill -9."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.connectors.refusal import ReceiverRejectsLoginError
from headrace.connectors.sink import SinkOptions
from headrace.events import codec, topics
from headrace.events.dead_letter import DeadLetter
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.sink.stage import SinkStage
from headrace.stages.stage import read_statuses
from headrace.testing.builders import new_record
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id
from headrace.testing.webhook_receiver import WebhookReceiver

CHILD = """
import sys
from pathlib import Path
from headrace.connectors.sink import SinkOptions
from headrace.foundation.failpoints import arm_from_environment
from headrace.log.registry import open_log
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.sink.stage import SinkStage
from headrace.testing.resource_ids import connector_id
arm_from_environment()
log = open_log(Path(sys.argv[1]))
sink = SinkOptions(connector_id("hook"), "webhook", {"url": sys.argv[2], "batchRecords": int(sys.argv[3])})
stage = SinkStage(SinkStageOptions(sink, "rows"), log, "test")
while stage.step():
    pass
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    opened.ensure_topic(TopicSpec("rows"))
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as made:
        yield made


def write(log: TopicLog, *numbers: int) -> None:
    records = [new_record(f"r{n}", json.dumps({"n": n}).encode()) for n in numbers]
    log.commit(Commit([Append("rows", records)]))


def stage(log: TopicLog, receiver: WebhookReceiver, **more: object) -> SinkStage:
    options = SinkOptions(connector_id("hook"), "webhook", {"url": receiver.url, **more})
    return SinkStage(SinkStageOptions(options, "rows"), log, "test", VirtualClock())


def test_a_wrong_login_is_a_condition_and_every_record_waits(log: TopicLog, receiver: WebhookReceiver) -> None:
    write(log, 0, 1, 2)
    receiver.judge = lambda _: 401
    for _ in range(3):
        one = stage(log, receiver)
        with pytest.raises(ReceiverRejectsLoginError):
            one.step()
        one.close()
    [status] = read_statuses(log)
    [condition] = status.conditions
    assert (condition.type, condition.status, condition.reason) == ("Writing", "False", "ReceiverRejectsLogin")
    assert "401" in condition.message
    assert "Correct the credentials" in condition.message
    assert log.offset("sink/default.hook", "rows") == 0
    receiver.judge = lambda _: 200
    one = stage(log, receiver)
    assert one.step()
    one.close()
    assert [json.loads(body)["n"] for _, body in receiver.requests[-3:]] == [0, 1, 2]
    assert log.topic(topics.dead(connector_id("hook"))).end_offset == 0


def test_of_a_batch_the_record_at_fault_alone_is_a_dead_letter(log: TopicLog, receiver: WebhookReceiver) -> None:
    write(log, *range(6))
    receiver.judge = lambda body: 422 if any(row["n"] == 4 for row in json.loads(body)) else 200
    one = stage(log, receiver, batchRecords=6)
    assert one.step()
    one.close()
    letters = [codec.decode(record, DeadLetter) for record in log.read(topics.dead(connector_id("hook")), 0)]
    assert [(letter.origin_id, letter.code, letter.source_offset) for letter in letters] == [("r4", "refused", 4)]


@pytest.mark.kill
@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_has_the_same_records_and_key_after_kill_9(
    tmp_path: Path, log: TopicLog, receiver: WebhookReceiver, batch: int
) -> None:
    write(log, 0, 1, 2, 3)
    assert run(tmp_path, receiver, batch, failpoint="sink.commit.before:1") == -signal.SIGKILL
    before = len(receiver.requests)
    assert before > 0
    write(log, 4, 5, 6, 7, 8)
    assert run(tmp_path, receiver, batch) == 0
    assert receiver.requests[:before] == receiver.requests[before : 2 * before]
    taken = {headers["idempotency-key"]: body for headers, body in receiver.requests}
    found = [json.loads(body) for body in taken.values()]
    rows = [row["n"] for one in found for row in (one if batch > 1 else [one])]
    assert rows == list(range(9))


@pytest.mark.kill
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_batch_that_a_kill_cut_short_is_sent_with_the_key_of_the_first_time(
    tmp_path: Path, log: TopicLog, receiver: WebhookReceiver, nth: int
) -> None:
    """The process dies while it waits for the answer to one of its requests."""
    write(log, *range(5))
    child = start(tmp_path, receiver, 2)

    def judge(_: bytes) -> int:
        if len(receiver.requests) == nth:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        return 200

    receiver.judge = judge
    assert child.wait(timeout=120) == -signal.SIGKILL
    write(log, *range(5, 9))
    assert run(tmp_path, receiver, 2) == 0
    taken = {headers["idempotency-key"]: json.loads(body) for headers, body in receiver.requests}
    assert [row["n"] for rows in taken.values() for row in rows] == list(range(9))


def start(state: Path, receiver: WebhookReceiver, batch: int, failpoint: str = "") -> "subprocess.Popen[bytes]":
    environ = {**os.environ, **({"HEADRACE_FAILPOINT": failpoint} if failpoint else {})}
    return subprocess.Popen([sys.executable, "-c", CHILD, str(state), receiver.url, str(batch)], env=environ)


def run(state: Path, receiver: WebhookReceiver, batch: int, failpoint: str = "") -> int:
    return start(state, receiver, batch, failpoint).wait(timeout=120)
