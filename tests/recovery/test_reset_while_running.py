"""A reset of what runs: the supervisor ends the stages concerned, performs it and starts them again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.parent import die_with_parent
from headrace.testing.ports import free_ports
from headrace.testing.real_kills import LIGHT

from .reset_desk import LayOut, ResetDesk

pytestmark = [pytest.mark.kill, pytest.mark.slow]


def headrace(desk: ResetDesk, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HEADRACE_TRACKING": "none", "HEADRACE_PORT": str(free_ports(1)[0])}
    return subprocess.Popen(
        [sys.executable, *LIGHT, *arguments, "--state", str(desk.state)],
        cwd=desk.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, loaded before
    )  # fmt: skip


def test_a_running_headrace_resets_and_purges_and_goes_on(tmp_path: Path, lay_out_job: LayOut) -> None:
    desk = ResetDesk("kills", tmp_path / "job", lay_out_job, questions=12)
    desk.run()
    applied = headrace(desk, "apply", "-f", "job.yaml")
    said, _ = applied.communicate(timeout=60)
    assert applied.returncode == 0, said
    up = headrace(desk, "up", "--no-live")
    try:
        deadline = SYSTEM_CLOCK.monotonic() + 60
        while not (desk.state / "logs" / "label.log").exists() and SYSTEM_CLOCK.monotonic() < deadline:
            SYSTEM_CLOCK.sleep(0.1)
        said, _ = headrace(desk, "reset", "streamfinetuner/desk", "--from", "labels", "--dry-run").communicate(
            timeout=60
        )
        assert "12 prompts are asked and paid for again" in said
        asked = headrace(desk, "reset", "streamfinetuner/desk", "--from", "labels")
        said, _ = asked.communicate(timeout=100)
        assert asked.returncode == 0, said
        while desk.spent().calls < 24 and SYSTEM_CLOCK.monotonic() < deadline + 60:
            SYSTEM_CLOCK.sleep(0.1)
        assert desk.spent().calls == 24
        purged = headrace(desk, "delete", "streamfinetuner", "desk", "--purge")
        said, _ = purged.communicate(timeout=100)
        assert purged.returncode == 0, said
        assert "bytes freed" in said
        assert up.poll() is None
    finally:
        os.killpg(up.pid, signal.SIGTERM)
        words, _ = up.communicate(timeout=60)
    assert up.returncode == 0, words
    assert not (desk.state / "versions" / "default.desk").exists()
