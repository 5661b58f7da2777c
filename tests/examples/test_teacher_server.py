"""The example's teacher: its data, its policies and the protocol it speaks."""

import csv
import gzip
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import openai
import pytest

SUPPORT = Path(__file__).resolve().parents[2] / "examples" / "support"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", SUPPORT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


teacher_server = load("teacher_server")


def stream() -> list[dict[str, str]]:
    with gzip.open(SUPPORT / "data" / "banking77-20.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def recorded() -> dict[str, str]:
    with gzip.open(SUPPORT / "data" / "banking77-20-labels.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return {line["text"]: line["intent"] for line in csv.DictReader(file)}


@pytest.fixture(scope="module")
def labels():
    return teacher_server.Labels(SUPPORT / "data" / "banking77-20-labels.csv.gz")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "routing.md"
    shutil.copy(SUPPORT / "routing.md", path)
    return path


@pytest.fixture(scope="module")
def address(policy: Path) -> Iterator[str]:
    command = [
        sys.executable,
        str(SUPPORT / "teacher_server.py"),
        "--port",
        "0",
        "--print-port",
        "--policy",
        str(policy),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, text: str, **more: object) -> str:
    completion = client.chat.completions.create(
        model="support-desk", messages=[{"role": "user", "content": text}], **more
    )
    return completion.choices[0].message.content or ""


def test_the_stream_holds_3403_questions_in_order_and_none_of_their_answers():
    rows = stream()
    assert [row["id"] for row in rows] == [f"q{number:04d}" for number in range(1, 3404)]
    assert all(row.keys() == {"id", "event_time", "text"} for row in rows)
    assert [row["event_time"] for row in rows] == sorted(row["event_time"] for row in rows)
    assert rows[0]["event_time"] == "2025-01-06T09:00:00.000Z"


def test_every_question_has_one_of_twenty_recorded_intents():
    intents = recorded()
    assert intents.keys() == {row["text"] for row in stream()}
    assert len(set(intents.values())) == 20


def test_preparing_the_data_again_gives_the_same_bytes(shared_data: Path, tmp_path: Path):
    source = shared_data / "support" / "banking77-train.csv"
    subprocess.run(
        [sys.executable, str(SUPPORT / "prepare_data.py"), str(source), "--out", str(tmp_path)],
        check=True,
        capture_output=True,
    )
    for name in ("banking77-20.jsonl.gz", "banking77-20-labels.csv.gz"):
        assert (tmp_path / name).read_bytes() == (SUPPORT / "data" / name).read_bytes()


def test_both_policies_route_every_intent_and_a_third_of_them_differently():
    before, after = (
        teacher_server.read_table((SUPPORT / name).read_text()) for name in ("routing.md", "routing-after.md")
    )
    intents = Counter(recorded().values())
    assert before.keys() == after.keys() == intents.keys()
    moved = {intent for intent in before if before[intent] != after[intent]}
    assert len(moved) == 7
    assert 0.30 < sum(intents[intent] for intent in moved) / 3403 < 0.40
    assert set(before.values()) == set(after.values())
    assert all(team.isalpha() and team.islower() for team in before.values())


@pytest.mark.parametrize(
    "message",
    [
        "{}",
        "  {}  ",
        "Question: {}",
        "Route this question of a customer.\n\nQuestion: {}\nAnswer:",
        "question: {}\nAnswer with `intent | team`.",
        "Some knowledge:\n- cards are sent by post\n\nCustomer question: {}",
        "A customer writes »{}« and waits.",
    ],
)
def test_a_recorded_question_is_found_wherever_it_stands(labels, message: str):
    for text, intent in list(recorded().items())[:200]:
        assert labels.intent(message.format(text)) == intent


def test_white_space_and_case_do_not_matter(labels):
    text, intent = next((text, intent) for text, intent in recorded().items() if len(text.split()) > 6)
    assert labels.intent("\t".join(text.upper().split())) == intent


def test_a_question_of_a_persons_own_gets_the_nearest_recorded_ones_intent(labels):
    assert labels.intent("Question: how on earth do I activate the new card you sent me") == "activate_my_card"
    assert labels.intent("someone charged me twice for one purchase") == "transaction_charged_twice"
    assert labels.intent("") in set(recorded().values())
    assert labels.intent("Ω≈ç√") in set(recorded().values())


def test_the_official_client_gets_intent_and_team_with_usage(client: openai.OpenAI):
    completion = client.chat.completions.create(
        model="support-desk",
        messages=[
            {"role": "system", "content": "Answer with intent | team."},
            {"role": "user", "content": "an earlier question"},
            {"role": "assistant", "content": "an earlier answer"},
            {"role": "user", "content": "Question: It looks like I was charged twice for a single transaction"},
        ],
        temperature=0,
    )
    assert completion.choices[0].message.content == "transaction_charged_twice | disputes"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0
    assert [model.id for model in client.models.list()] == ["support-desk"]


def test_an_answer_longer_than_the_limit_is_cut_and_says_so(client: openai.OpenAI):
    completion = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "charged twice"}], max_tokens=1
    )
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 1


def test_a_changed_policy_counts_from_the_next_question_on(client: openai.OpenAI, policy: Path):
    question = "Question: It looks like I was charged twice for a single transaction"
    original = policy.read_text()
    try:
        changed = original.replace(
            "| transaction_charged_twice | disputes |", "| transaction_charged_twice | payments |"
        )
        replacement = policy.with_suffix(".new")
        replacement.write_text(changed)
        replacement.replace(policy)
        assert ask(client, question) == "transaction_charged_twice | payments"
        policy.unlink()
        assert ask(client, question) == "transaction_charged_twice | payments"
        policy.write_text("an editor writes the file in two steps, and this is the first")
        assert ask(client, question) == "transaction_charged_twice | payments"
    finally:
        policy.write_text(original)
        os.utime(policy)
    assert ask(client, question) == "transaction_charged_twice | disputes"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", "'messages'"),
        (b'{"messages": []}', "'messages'"),
        (b'{"messages": ["hello"]}', "must be an object"),
        (b'{"messages": [{"role": "system", "content": "x"}]}', "role user"),
        (b'{"messages": [{"role": "user", "content": "x"}], "stream": true}', "'stream'"),
    ],
)
def test_a_wrong_request_is_told_why_in_openais_shape(address: str, body: bytes, says: str):
    reply = httpx.post(f"{address}/v1/chat/completions", content=body)
    assert reply.status_code == 400
    assert says in reply.json()["error"]["message"]


def test_unknown_paths_methods_and_broken_bodies_get_their_status(address: str):
    assert httpx.get(f"{address}/v2").status_code == 404
    assert httpx.get(f"{address}/v1/chat/completions").status_code == 405
    assert httpx.post(f"{address}/v1/models").status_code == 405


@pytest.mark.parametrize(("length", "status"), [("99999999", "413"), ("-1", "413"), ("many", "400")])
def test_a_body_of_impossible_length_is_refused_before_it_is_read(address: str, length: str, status: str):
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()
        )
        assert connection.makefile("rb").readline().startswith(f"HTTP/1.1 {status} ".encode())


def test_a_chunked_body_is_read(address: str):
    parts = [b'{"messages": [{"role": "user",', b'"content": "activate my card"}]}']
    reply = httpx.post(f"{address}/v1/chat/completions", content=iter(parts))
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"].startswith("activate_my_card | ")


def test_a_policy_without_a_table_is_refused_at_the_start(tmp_path: Path):
    empty = tmp_path / "empty.md"
    empty.write_text("nothing")
    for path, says in ((empty, "no line of the form"), (tmp_path / "none.md", "no such file")):
        done = subprocess.run(
            [sys.executable, str(SUPPORT / "teacher_server.py"), "--port", "0", "--policy", str(path)],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert says in done.stderr


def test_the_documents_say_of_every_intent_what_the_tables_say():
    for page, table in (("policies/routing.md", "routing.md"), ("policies/routing-after.md", "routing-after.md")):
        sections = dict(teacher_server.SECTION.findall((SUPPORT / page).read_text()))
        assert sections == teacher_server.read_table((SUPPORT / table).read_text())


def test_the_team_is_read_in_the_passages_of_the_prompt(labels):
    passages = teacher_server.Passages()
    prompt = "## request_refund\n\nI want a refund.\n\nTeam: payments.\n\n## other_kind\n\nAnother.\n\nTeam: cards.\nQuestion: x"
    assert passages.team("request_refund", prompt) == "payments"
    assert passages.team("other_kind", prompt) == "cards"
    assert passages.team("transfer_fee_charged", prompt) == teacher_server.NOBODY
    cut = "## request_refund\n\nI want a refund.\n\n## other_kind\n\nTeam: cards."
    assert passages.team("request_refund", cut) == teacher_server.NOBODY, "a team belongs to its own section"
