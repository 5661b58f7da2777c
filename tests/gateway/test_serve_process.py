"""The serve role's own process, ended as its supervisor ends it."""

import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from headrace.control.orders import send
from headrace.control.role import RoleOrder
from headrace.events import topics
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.registry import open_log
from headrace.stages.serve.journal_file import JournalFile
from headrace.stages.serve.options import DoorOptions, ServedModel
from headrace.stages.serve.spec import serve_spec
from headrace.testing.builders import read_all
from headrace.testing.resource_ids import base_model_id, finetuner_id


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.kill
def test_a_clean_end_commits_every_answer_that_was_given(tmp_path: Path, root: Path) -> None:
    port = free_port()
    model = ServedModel(finetuner_id("desk", "red"), root / "parrot", base_model_id("tiny", "red"))
    order = RoleOrder("serve", (serve_spec(model),), tmp_path, "test", doors=DoorOptions(port=port))
    with subprocess.Popen(
        [sys.executable, "-m", "headrace.doors.serve_role"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        send(process.stdin, order)
        process.stdin.close()
        wait_until_ready(port, process)
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:

            def ask(_: int) -> str:
                message = [{"role": "user", "content": "hello"}]
                return client.chat.completions.create(model="desk", messages=message, max_tokens=1).id

            with ThreadPoolExecutor(8) as pool:
                given = list(pool.map(ask, range(60)))
        process.send_signal(signal.SIGTERM)
        errors = process.stderr.read() if process.stderr else b""
    assert (process.returncode, errors) == (0, b"")
    log = open_log(tmp_path)
    assert sorted(record.id for record in read_all(log, topics.answers("red"))) == sorted(given)
    log.close()
    assert not (tmp_path / "answers.sqlite-wal").exists()  # the file was closed
    journal = JournalFile(tmp_path)
    assert journal.sizes() == ({}, 0)
    journal.close()


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = SYSTEM_CLOCK.monotonic() + 100
    while SYSTEM_CLOCK.monotonic() < deadline:
        assert process.poll() is None
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            pass
        SYSTEM_CLOCK.sleep(0.05)
    raise AssertionError("it was never ready")
