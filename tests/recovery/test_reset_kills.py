"""`kill -9` between the steps of a reset and of a purge: what was begun is finished at the next start, once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.control.requests import pending
from headrace.log.registry import open_log

from .reset_desk import LayOut, ResetDesk

pytestmark = [pytest.mark.kill, pytest.mark.slow]
DESK = "StreamFinetuner/default/desk"
COMMAND = "from headrace.foundation.failpoints import arm_from_environment as arm; arm(); from headrace.doors.cli import main; main()"
STEPS = [
    ("reset", "reset.empty.before:1"), ("reset", "reset.empty.after:1"), ("reset", "reset.commit.before:1"),
    ("purge", "purge.stage.before:3"), ("purge", "purge.file.before:2"), ("purge", "purge.topic.before:4"),
    ("purge", "purge.group.before:2"), ("purge", "purge.commit.before:1"),
]  # fmt: skip


def command(desk: ResetDesk, *arguments: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HEADRACE_TRACKING": "none", "HEADRACE_FAILPOINT": failpoint}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, "--state", str(desk.state)],
        cwd=desk.folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("verb", "failpoint"), STEPS)
def test_a_killed_request_is_finished_at_the_next_start(
    verb: str, failpoint: str, tmp_path: Path, lay_out_job: LayOut
) -> None:
    desk = ResetDesk("kills", tmp_path / "job", lay_out_job, questions=12)
    desk.run()
    assert command(desk, "apply", "-f", "job.yaml").returncode == 0
    reset = ("reset", "streamfinetuner/desk", "--from", "labels")
    purge = ("delete", "streamfinetuner", "desk", "--purge")
    killed = command(desk, *(reset if verb == "reset" else purge), failpoint=failpoint)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    log = open_log(desk.state)
    assert len(pending(log)) == 1
    log.close()
    desk.perform_left()
    log = open_log(desk.state)
    try:
        assert not pending(log)
        left = [info.spec.name for info in log.topics() if info.spec.name.startswith("default.desk.")]
    finally:
        log.close()
    if verb == "purge":
        assert left == []
        assert not (desk.state / "versions" / "default.desk").exists()
        assert desk.spent().calls == 0
    calls = desk.spent().calls
    desk.run()
    assert desk.spent().calls == calls + 12
    assert len(desk.records("default.desk.examples")) == 12
    assert len(desk.records("default.desk.rows")) == 12
