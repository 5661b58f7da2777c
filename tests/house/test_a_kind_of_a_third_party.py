"""A kind that Headrace has never heard of: installed beside it, it is validated, planned, applied, run, shown, killed and deleted."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.registry import open_log
from headrace.testing.builders import read_all

from .installed import ROWS, Installed, length, process_of

SOURCE = Path(__file__).resolve().parents[2] / "src" / "headrace"


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
