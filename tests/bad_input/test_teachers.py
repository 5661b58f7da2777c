"""A teacher that is away makes rows wait; one that answers nonsense makes dead letters; the stream goes on."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from headrace.control.run import Outcome, run_until
from headrace.control.supervisor import RoleProcess
from headrace.events import codec, topics
from headrace.events.example import Example
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.settings import Settings
from headrace.log.registry import open_log
from headrace.stages.topology import Topology
from headrace.testing.builders import read_all
from headrace.testing.ports import free_ports
from headrace.testing.provider_servers import OpenAIProtocol, ProviderServer, Request, Scripted
from headrace.testing.resource_ids import finetuner_id

SUPPORT = Path(__file__).resolve().parents[2] / "examples" / "support"


def ask(folder: Path, count: int) -> None:
    rows = ({"id": f"q{n}", "event_time": "2023-11-14T22:13:00Z", "text": f"where is my card {n}", "amount": n, "team": ""} for n in range(count))  # fmt: skip
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


class Unseen:
    """A view that shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end."""

    def refresh(self, died: list[RoleProcess]) -> None:
        """Nothing to show."""


def labelled(found: Topology, folder: Path) -> Outcome:
    """Runs the roles up to the teacher, each in its own process."""
    log = open_log(folder / "state")
    try:
        part = found.only(("ingest", "transform", "prompt", "label"))
        return run_until(part, log, Settings(state=folder / "state"), until_idle=True, view=Unseen())
    finally:
        log.close()


@contextmanager
def desk_lead(port: int) -> Iterator[None]:
    """The example's teacher at a port."""
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "teacher_server.py"), "--port", str(port), "--print-port"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    yield
    process.terminate()
    process.stdout.close()
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_teacher_that_is_down_ends_the_run_and_a_second_run_finishes(
    folder: Path, with_teacher: Callable[..., None], topology: Callable[[], Topology]
):
    port = free_ports(1)[0]
    with_teacher(folder, f"http://127.0.0.1:{port}/v1", timeout="1s")
    ask(folder, 40)
    outcome = labelled(topology(), folder)
    assert outcome.exit_code == 7
    assert "StreamFinetuner/default/desk" in outcome.failure
    log = open_log(folder / "state")
    assert len(read_all(log, topics.prompts(finetuner_id("desk")))) == 41
    assert read_all(log, topics.examples(finetuner_id("desk"))) == []
    assert read_all(log, topics.stage_dead(finetuner_id("desk"), "label")) == []
    log.close()
    with desk_lead(port):
        assert labelled(topology(), folder) == Outcome()
    log = open_log(folder / "state")
    examples = [
        codec.decode(r, Example)
        for r in read_all(log, topics.examples(finetuner_id("desk")))
        if r.kind != codec.CONTROL
    ]
    log.close()
    assert [example.row_id for example in examples] == [f"questions:q{n}" for n in range(40)]


def run_with(
    folder: Path,
    run: Callable[..., Any],
    with_teacher: Callable[..., None],
    answer: Callable[[Request], str] | None,
    *script: Any,
) -> Any:
    with ProviderServer(OpenAIProtocol(), answer) as server:
        server.script(*script)
        with_teacher(folder, server.endpoint, key=server.key, model=server.protocol.model)
        return run(clock=SYSTEM_CLOCK)


def test_answers_in_another_language_are_learned_or_set_aside(
    folder: Path, run: Callable[..., Any], with_teacher: Callable[..., None], letters: Callable[..., Any]
):
    def lie(request: Request) -> str:
        number = int(request.fields()["messages"][-1]["content"].split()[-1])
        return "это карта, и очень длинный ответ" if number % 5 == 4 else ("7" if number % 2 else "9")

    ask(folder, 40)
    found = run_with(folder, run, with_teacher, lie)
    assert len(found["desk.examples"]) == 40
    assert [letter.code for letter in letters(found["desk.dead.train"])] == ["too_long"] * 8
    assert len(found["desk.scores"]) == 32


def test_unusable_answers_are_dead_letters_in_their_places(
    folder: Path, run: Callable[..., Any], with_teacher: Callable[..., None], letters: Callable[..., Any]
):
    ask(folder, 30)
    script = ["ok", "refusal", "ok", "empty", "content_filter", "ok", "cut_off", Scripted("ok", "7")]
    found = run_with(folder, run, with_teacher, lambda _: "7", *script)
    dead = letters(found["desk.dead.label"])
    assert len(dead) == 4
    assert {letter.code for letter in dead} <= {"refused", "unusable_answer"}
    assert len(found["desk.examples"]) == 26
    known = {letter.origin_id for letter in dead} | {record.id for record in found["desk.examples"]}
    assert known == {record.id for record in found["desk.prompts"]}
    assert len(found["desk.scores"]) == 26
