"""Two `headrace` on one Kafka: the one that came later works, the other ends and says why; nobody takes turns."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog

PATIENCE_SECONDS = 60.0
JOB = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: numbers}
spec:
  direction: source
  type: generator
  generator: {seed: 1, rate: 50, count: 0, fields: [{name: n, kind: sequence}]}
"""


class Machine:
    """`headrace run` of the same files with a state directory of its own."""

    def __init__(self, folder: Path, state: str, environ: dict[str, str]) -> None:
        (folder / "job.yaml").write_text(JOB, "utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from headrace.doors.cli import main; main()", "run", "-f", "job.yaml", "--state", state],
            cwd=folder, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def words(self) -> str:
        """All that it said, once it has ended."""
        return self.process.communicate(timeout=PATIENCE_SECONDS)[0]


@pytest.fixture
def machines(tmp_path: Path, kafka_address: str) -> Generator[list[Machine]]:
    started: list[Machine] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
            one.words()


def until_it_writes(log: TopicLog, machine: Machine) -> None:
    """Waits for ten more records."""
    count = lambda: next((t.end_offset for t in log.topics() if t.spec.name == "default.numbers.events"), 0)  # noqa: E731
    start, deadline = count(), SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while count() < start + 10:
        assert machine.process.poll() is None, machine.words()
        assert SYSTEM_CLOCK.monotonic() < deadline, "it does not write"
        SYSTEM_CLOCK.sleep(0.05)


@pytest.mark.slow
def test_a_second_headrace_takes_the_roles_over_and_the_first_ends(
    tmp_path: Path, kafka_address: str, machines: list[Machine]
) -> None:
    prefix = f"{tmp_path.name}."
    environ = {"HEADRACE_LOG": "kafka", "HEADRACE_KAFKA": kafka_address, "HEADRACE_KAFKA_PREFIX": prefix}
    options = {"kafka": kafka_address, "kafka_prefix": prefix}
    with closing(open_log(tmp_path, technology="kafka", options=options)) as log:
        machines.append(Machine(tmp_path, "first", environ))
        until_it_writes(log, machines[0])
        machines.append(Machine(tmp_path, "second", environ))
        words = machines[0].words()
        assert machines[0].process.returncode == 6, words
        assert "another headrace took over the role ingest" in words
        assert "kafka_prefix" in words
        until_it_writes(log, machines[1])
