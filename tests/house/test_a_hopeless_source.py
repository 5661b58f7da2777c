"""A run that ends when idle, with one source that can never be read: the rest is finished, then the run names it and fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.foundation.errors import NotFoundError
from headrace.log.registry import open_log
from headrace.stages.stage import read_statuses
from headrace.testing.builders import read_all

CONNECTOR = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {{name: {name}}}
spec:
  type: file
  file: {{path: {name}.jsonl, format: json}}
  schema: [{{name: id, type: BIGINT}}]
  id: [id]
"""


@pytest.mark.slow
def test_everything_else_is_done_first_and_the_exit_code_is_that_of_its_error(tmp_path: Path):
    (tmp_path / "all.yaml").write_text("---".join(CONNECTOR.format(name=name) for name in ("gone", "there")))
    (tmp_path / "there.jsonl").write_text("".join(json.dumps({"id": number}) + "\n" for number in range(20)))
    done = subprocess.run(
        [sys.executable, "-c", "from headrace.doors.cli import main; main()", "run", "-f", "all.yaml", "--until-idle",
         "--port", "0", "--no-live"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == NotFoundError.exit_code, done.stderr
    assert "ingest/default.gone: " in done.stderr
    assert "no file matches gone.jsonl" in done.stderr
    assert "Everything else is done" in done.stderr
    log = open_log(tmp_path / ".headrace")
    rows = [one for one in read_all(log, "default.there.events") if one.kind == "row/1"]
    assert len(rows) == 20
    (role,) = (one for one in read_statuses(log) if one.resource == "Role/-/ingest")
    assert role.progress["restarts"] == 0
    log.close()
