"""Headrace's command line with the package of a third party beside it."""

import os
import subprocess
import sys
from pathlib import Path

from headrace.foundation.parent import die_with_parent
from headrace.log.topic_log import TopicLog
from headrace.stages.stage import read_statuses

TOY = Path(__file__).resolve().parent / "toy"
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
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, loaded before
            )  # fmt: skip


def length(log: TopicLog) -> int:
    return next((one.end_offset for one in log.topics() if one.spec.name == "default.rows.counts"), 0)


def process_of(log: TopicLog, role: str) -> int:
    """As the supervisor reports it."""
    (status,) = (one for one in read_statuses(log) if one.resource == f"Role/-/{role}")
    return int(status.conditions[0].message.rpartition(" ")[2])
