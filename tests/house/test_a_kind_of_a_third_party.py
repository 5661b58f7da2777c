"""A kind that Headrace has never heard of: installed beside it, it is validated, planned, applied, run, shown, killed and deleted."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.stage import read_statuses
from headrace.testing.builders import read_all

TOY = Path(__file__).resolve().parent / "toy"
SOURCE = Path(__file__).resolve().parents[2] / "src" / "headrace"
ROWS = 120
YAML = f"""
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {{name: numbers}}
spec:
  type: generator
  generator: {{seed: 1, rate: 60, count: {ROWS}, fields: [{{name: n, kind: sequence}}]}}
---
apiVersion: counting.example/v1
kind: Counter
metadata: {{name: rows}}
spec: {{sourceStreamConnector: numbers}}
"""
WRONG = YAML.replace("{sourceStreamConnector: numbers}", "{sourceStreamConnector: numbrs, stepp: 2}")


class Installed:
    """A folder, and Headrace with the package beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "all.yaml").write_text(YAML)
        (folder / "wrong.yaml").write_text(WRONG)
        self.environ = {**os.environ, "PYTHONPATH": str(TOY), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from headrace.doors.cli import main; main()", *arguments]

    def headrace(self, *arguments: str, check: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == check, done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "words").open("ab") as words:
            return subprocess.Popen(
                self.command(*arguments), cwd=self.folder, env=self.environ, stdout=words, stderr=words,
                start_new_session=True,
            )  # fmt: skip


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def test_headrace_does_not_name_it():
    texts = [path.read_text("utf-8") for path in SOURCE.rglob("*.py")]
    assert texts
    assert not any(re.search(r"headrace_counter|['\"]Counter['\"]|counting\.example", text) for text in texts)


@pytest.mark.slow
def test_a_mistake_in_it_is_found_with_its_line(installed: Installed):
    told = installed.headrace("validate", "-f", "wrong.yaml", check=2).stderr
    assert "there is no StreamConnector 'numbrs'" in told
    assert "stepp" in told
    assert "wrong.yaml:1" in told


@pytest.mark.slow
def test_what_is_applied_of_a_kind_that_is_gone_is_named(installed: Installed):
    installed.headrace("apply", "-f", "all.yaml")
    installed.environ.pop("PYTHONPATH")
    told = installed.headrace("get", "all", check=4).stderr
    assert "Counter" in told
    assert "Traceback" not in told


@pytest.mark.kill
def test_it_lives_as_every_kind_does(installed: Installed):
    planned = json.loads(installed.headrace("plan", "-f", "all.yaml", "-o", "json").stdout)
    assert ("create", "Counter", "rows") in [(one["action"], one["kind"], one["name"]) for one in planned]
    assert "Counter/rows created" in installed.headrace("apply", "-f", "all.yaml").stdout
    assert killed_while_it_counts(installed) == 0
    log = open_log(installed.folder / ".headrace")
    counts = [json.loads(one.value)["count"] for one in read_all(log, "default.rows.counts")]
    assert counts == list(range(1, ROWS + 1))
    log.close()
    shown = json.loads(installed.headrace("describe", "counter", "rows", "-o", "json").stdout)
    assert shown["spec"] == {"sourceStreamConnector": "numbers"}
    assert ("Ready", "True") in [(one["type"], one["status"]) for one in shown["status"]["conditions"]]
    assert ("Counting", "True") in [(one["type"], one["status"]) for one in shown["status"]["conditions"]]
    assert shown["status"]["progress"]["count"] == {"count": ROWS}
    assert "Counter/rows deleted" in installed.headrace("delete", "counter", "rows").stdout
    assert json.loads(installed.headrace("get", "counters", "-o", "json").stdout) == []


def killed_while_it_counts(installed: Installed) -> int:
    """Runs until idle; its process is killed in the middle. The exit code."""
    log = open_log(installed.folder / ".headrace")
    run = installed.start("run", "-f", "all.yaml", "--until-idle", "-o", "json", "--port", "0", "--no-live")
    try:
        deadline = SYSTEM_CLOCK.monotonic() + 120
        while length(log) < ROWS // 4:
            assert SYSTEM_CLOCK.monotonic() < deadline, (installed.folder / "words").read_text()
            SYSTEM_CLOCK.sleep(0.01)
        assert length(log) < ROWS
        os.kill(process_of(log, "count"), signal.SIGKILL)
        return run.wait(timeout=180)
    finally:
        log.close()
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def length(log: TopicLog) -> int:
    return next((one.end_offset for one in log.topics() if one.spec.name == "default.rows.counts"), 0)


def process_of(log: TopicLog, role: str) -> int:
    """As the supervisor reports it."""
    (status,) = (one for one in read_statuses(log) if one.resource == f"Role/-/{role}")
    return int(status.conditions[0].message.rpartition(" ")[2])
