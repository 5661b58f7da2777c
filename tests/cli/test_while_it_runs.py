"""What a person does with a running Headrace: push events, ask, promote, interrupt."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.parent import die_with_parent
from headrace.testing.ports import free_ports

pytestmark = pytest.mark.slow
PUSHED = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: pushed}
spec:
  direction: source
  type: http
  schema:
    - {name: id, type: STRING}
    - {name: text, type: STRING}
    - {name: category, type: STRING}
  id: [id]
---
"""


def eventually(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Asks until the answer is truthy; a server that does not answer yet counts as no."""
    deadline = SYSTEM_CLOCK.monotonic() + seconds
    while SYSTEM_CLOCK.monotonic() < deadline:
        try:
            if found := what():
                return found
        except httpx.TransportError:
            pass
        SYSTEM_CLOCK.sleep(0.1)
    raise AssertionError("it did not happen in time")


class Running:
    """A `headrace up` on a free port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.address = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ,
            "HEADRACE_TRACKING": "none",
            "OMP_NUM_THREADS": "1",
            "HEADRACE_PORT": str(self.port),
        }
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "headrace"), "up"],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, loaded before
        )  # fmt: skip

    def pids(self) -> set[int]:
        found = subprocess.run(
            ["ps", "-o", "pid=", "-g", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return {int(pid) for pid in found.stdout.split()}

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="module")
def running(desk: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The desk with a door for pushed questions in place of the file."""
    folder = tmp_path_factory.mktemp("pushed")
    (folder / "model").symlink_to(desk.folder / "model")
    text = (desk.folder / "headrace.yaml").read_text()
    _, _, rest = text.partition("---\n")
    finetuner = rest.replace("sourceStreamConnector: questions", "sourceStreamConnector: pushed").replace(
        "  timeline: event\n", ""
    )
    (folder / "headrace.yaml").write_text(PUSHED + finetuner)
    type(desk)(folder, {}).run("apply", "-f", "headrace.yaml")
    started = Running(folder)
    try:
        eventually(lambda: httpx.get(f"{started.address}/readyz").status_code == 200)
        yield started
    finally:
        started.end()


def push(running: Running, body: str, content_type: str = "application/x-ndjson") -> httpx.Response:
    path = "/apis/streams.nstream.ai/v1/namespaces/default/streamconnectors/pushed/events"
    return httpx.post(running.address + path, content=body, headers={"content-type": content_type}, timeout=60)


def topics(running: Running, desk: Any) -> dict[str, int]:
    shown = type(desk)(running.folder, {}).run("topics", "-o", "json")
    return {topic["topic"]: topic["records"] for topic in json.loads(shown.stdout)}


def test_pushed_events_become_examples_and_a_repeat_is_harmless(running: Running, desk: Any):
    rows = (desk.folder / "questions.jsonl").read_text().splitlines()[:40]
    body = "\n".join(rows)
    assert push(running, body).json() == {"accepted": 40, "duplicates": 0}
    assert push(running, body).json() == {"accepted": 0, "duplicates": 40}
    eventually(lambda: topics(running, desk)["default.desk.examples"] == 40)
    assert push(running, "{broken", "application/json").status_code == 400


def test_the_base_answers_before_anything_is_promoted_and_the_answer_is_traceable(running: Running, desk: Any):
    asked = json.loads(
        type(desk)(running.folder, {})
        .run("ask", "desk", "Where is my card?", "--port", str(running.port), "-o", "json")
        .stdout
    )
    assert asked["version"] in ("v0", "base")
    assert asked["answerId"]
    found = eventually(lambda: topics(running, desk).get("default.answers"))
    assert found == 1
    lineage = json.loads(type(desk)(running.folder, {}).run("lineage", asked["answerId"], "-o", "json").stdout)
    assert lineage["cameFrom"][0]["topic"] == "default.answers"
    feedback = {"answer_id": asked["answerId"], "rating": 0.0, "correction": "card_arrival"}
    assert httpx.post(f"{running.address}/v1/feedback", json=feedback, timeout=30).is_success
    assert topics(running, desk)["default.feedback"] == 1


def test_a_second_supervisor_on_the_state_is_refused(running: Running, desk: Any):
    done = type(desk)(running.folder, {}).run("up", "--port", "0", check=5)
    assert "--state" in done.stderr


def test_a_role_that_is_killed_comes_back(running: Running, desk: Any):
    def ingest() -> set[int]:
        found = subprocess.run(
            ["pgrep", "-g", str(running.process.pid), "-f", "headrace.control.role"],
            capture_output=True,
            text=True,
            check=False,
        )
        return {int(pid) for pid in found.stdout.split()}

    before = ingest()
    os.kill(min(before), signal.SIGKILL)
    eventually(lambda: len(ingest()) == len(before) and ingest() != before)
    rows = (desk.folder / "questions.jsonl").read_text().splitlines()[40:60]
    assert push(running, "\n".join(rows)).status_code == 202
    eventually(lambda: topics(running, desk)["default.desk.examples"] == 60)


COUNTING = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: numbers}
spec:
  direction: source
  type: generator
  generator: {seed: 1, rate: 0, count: 5, fields: [{name: n, kind: sequence}]}
"""


def test_what_is_applied_or_deleted_meanwhile_takes_effect(running: Running, desk: Any):
    (running.folder / "numbers.yaml").write_text(COUNTING)
    type(desk)(running.folder, {}).run("apply", "-f", "numbers.yaml")
    eventually(lambda: topics(running, desk).get("default.numbers.events") == 6)
    type(desk)(running.folder, {}).run("delete", "streamconnector", "numbers")
    shown = json.loads(type(desk)(running.folder, {}).run("get", "streamconnector", "-o", "json").stdout)
    assert [one["metadata"]["name"] for one in shown] == ["pushed", "results"]


def test_ctrl_c_ends_everything_cleanly(running: Running):
    os.kill(running.process.pid, signal.SIGINT)
    _, errors = running.process.communicate(timeout=60)
    assert running.process.returncode == 0, errors
    assert "Traceback" not in errors
    assert eventually(lambda: not running.pids() - {running.process.pid})
