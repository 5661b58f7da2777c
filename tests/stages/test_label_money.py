"""What the teacher was paid for is never lost while the process lives, and never paid twice; what a kill loses is named."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.example import Example
from headrace.events.message import Message
from headrace.events.prompt import Prompt
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.stage import LabelStage
from headrace.stages.stage import read_statuses
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import PROBE
from headrace.teachers.ledger import Spending
from headrace.teachers.teacher import TeacherOptions
from headrace.testing.provider_servers import OpenAIProtocol, ProviderServer, Request, Scripted
from headrace.testing.resource_ids import finetuner_id

OWNER = finetuner_id("desk")
PROMPTS, EXAMPLES = topics.prompts(finetuner_id("desk")), topics.examples(finetuner_id("desk"))
DEAD = topics.stage_dead(finetuner_id("desk"), "label")
PATIENCE_SECONDS = 60.0


def text_of(request: Request) -> str:
    return request.fields()["messages"][-1]["content"]


def is_probe(text: str) -> bool:
    return text == PROBE[0].content


class Provider(ProviderServer):
    """Behaves as each question says: `refuse …`, `poison …`, `slow …`; else it answers. Counts what it was asked and what it bills."""

    def __init__(self) -> None:
        super().__init__(OpenAIProtocol(), self._behave)
        self.away = False
        self.fail_once: set[str] = set()
        self.slow_seconds = 0.3

    def _behave(self, request: Request) -> str | Scripted:
        word = text_of(request).partition(" ")[0]
        if word in self.fail_once:
            self.fail_once.remove(word)
            return Scripted("server_error")
        if self.away or word == "poison":
            return Scripted("server_error")
        if word == "malformed":
            return Scripted("malformed")
        if word == "rejected":
            return Scripted("echo_key")
        if word == "refuse":
            return Scripted("refusal")
        if word == "slow":
            return Scripted("ok", f"answer to {text_of(request)}", seconds=self.slow_seconds)
        return f"answer to {text_of(request)}"

    @property
    def asked(self) -> Counter[str]:
        return Counter(text for request in self.requests if not is_probe(text := text_of(request)))

    @property
    def probes(self) -> int:
        return sum(is_probe(text_of(request)) for request in self.requests)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    opened.ensure_topic(TopicSpec(PROMPTS))
    yield opened
    opened.close()


def put(log: TopicLog, *texts: str, end: bool = False) -> None:
    start = log.read(PROMPTS, 0)
    records = []
    for number, text in enumerate(texts, len(start)):
        prompt = Prompt(f"r{number}", f"r{number}", 0, 1, [Message("user", text)])
        records.append(NewRecord(f"p{number}", codec.kind_of(prompt), codec.encode(prompt), 1_000 + number))
    if end:
        records.append(NewRecord("end", codec.CONTROL, codec.encode(Control("end", "desk")), 0))
    log.commit(Commit([Append(PROMPTS, records)]))


def opened(log: TopicLog, state: Path, provider: Provider, **options: object) -> LabelStage:
    template = {"apikey": provider.key, "model": provider.protocol.model, "endpoint": provider.endpoint}
    teacher = TeacherOptions("lead", "OpenAI", template)
    given = {"retry_seconds": 0.0, "max_attempts": 3, **options}
    return LabelStage(LabelOptions(finetuner_id("desk"), teacher, **given), log, "me", state)  # type: ignore[arg-type]


def until(done: Callable[[], bool], step: Callable[[], object]) -> None:
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while not done():
        assert SYSTEM_CLOCK.monotonic() < deadline, "it did not come"
        step()


def rest() -> None:
    """Nobody steps the stage."""
    SYSTEM_CLOCK.sleep(0.005)


def settled(log: TopicLog) -> int:
    return log.offset("label/default.desk", PROMPTS)


def spent(state: Path) -> Spending:
    store = AnswerStore(state / "teachers.sqlite")
    try:
        return store.spent(OWNER)
    finally:
        store._file.close()


def outcomes(log: TopicLog) -> dict[str, str]:
    """By prompt: its answer, or its dead letter's code."""
    examples = [one for one in log.read(EXAMPLES, 0) if one.kind != codec.CONTROL]
    found = {one.id: codec.decode(one, Example).answer for one in examples}
    letters = [codec.decode(one, DeadLetter) for one in log.read(DEAD, 0)]
    return found | {one.origin_id: one.code for one in letters}


def reason(log: TopicLog) -> str:
    return next((c.reason for s in read_statuses(log) for c in s.conditions if c.type == "TeacherAvailable"), "")


def test_answers_that_arrive_while_asking_pauses_are_stored_though_nobody_steps(
    log: TopicLog, tmp_path: Path, provider: Provider
):
    provider.script(Scripted("rate_limited", headers={"retry-after": "60"}))
    put(log, *(f"slow {number}" for number in range(12)))
    stage = opened(log, tmp_path, provider, concurrency=12)
    until(lambda: reason(log) == "Unavailable", stage.step)
    until(lambda: spent(tmp_path).calls == 11, rest)
    assert spent(tmp_path).open_reservations == 0
    stage.close()
    assert len(provider.billed) == 11


def test_what_was_asked_before_a_failed_front_is_asked_and_billed_once(
    log: TopicLog, tmp_path: Path, provider: Provider
):
    provider.fail_once = {"first"}
    texts = ["first", *(f"refuse {number}" for number in range(8)), *(f"fine {number}" for number in range(8))]
    put(log, *texts)
    stage = opened(log, tmp_path, provider)
    until(lambda: settled(log) == 17, stage.step)
    stage.close()
    assert provider.asked == Counter({**dict.fromkeys(texts, 1), "first": 2})
    assert [outcomes(log)[f"p{number}"] for number in range(17)] == [
        "answer to first", *["refused"] * 8, *(f"answer to fine {number}" for number in range(8))
    ]  # fmt: skip
    assert spent(tmp_path).calls == len(provider.billed) == 17 + provider.probes


def test_a_refusal_that_was_billed_is_found_again_after_a_restart(log: TopicLog, tmp_path: Path, provider: Provider):
    provider.slow_seconds = 60.0
    put(log, "slow one", "refuse me", "refuse me", "fine")
    first = opened(log, tmp_path, provider, close_grace_seconds=0.0)
    until(lambda: spent(tmp_path).calls == 2, first.step)
    first.close()
    provider.slow_seconds = 0.0
    second = opened(log, tmp_path, provider)
    until(lambda: settled(log) == 4, second.step)
    second.close()
    assert provider.asked == Counter({"slow one": 2, "refuse me": 1, "fine": 1})
    assert [outcomes(log)[f"p{number}"] for number in (1, 2)] == ["refused"] * 2


@pytest.mark.parametrize("kind", ["poison", "malformed", "rejected"])
def test_a_prompt_that_fails_by_itself_leaves_the_head_of_the_line_as_a_letter_that_can_be_replayed(
    log: TopicLog, tmp_path: Path, provider: Provider, kind: str
):
    put(log, f"{kind} one", *(f"fine {number}" for number in range(6)), end=True)
    stage = opened(log, tmp_path, provider, max_attempts=3)
    until(lambda: settled(log) == 8, stage.step)
    stage.close()
    [letter] = [codec.decode(one, DeadLetter) for one in log.read(DEAD, 0)]
    assert (letter.code, letter.origin_id, letter.replayable) == ("unanswered", "p0", True)
    assert "3 attempts while the teacher answered other prompts" in letter.reason
    assert provider.asked[f"{kind} one"] == 3
    assert [outcomes(log)[f"p{number}"] for number in range(1, 7)] == [f"answer to fine {n}" for n in range(6)]


def test_poisoned_prompts_alone_in_the_line_are_told_from_an_outage_by_a_probe(
    log: TopicLog, tmp_path: Path, provider: Provider
):
    put(log, "poison one", "poison two", "poison three", end=True)
    stage = opened(log, tmp_path, provider, max_attempts=2)
    until(lambda: settled(log) == 4, stage.step)
    stage.close()
    assert set(outcomes(log).values()) == {"unanswered"}
    assert len(log.read(EXAMPLES, 0)) == 1, "the sign passes"
    assert 2 <= provider.probes <= 6
    assert spent(tmp_path).calls == len(provider.billed) == provider.probes


def test_an_outage_counts_for_no_prompt_however_long_it_lasts(log: TopicLog, tmp_path: Path, provider: Provider, clock):
    put(log, *(f"fine {number}" for number in range(6)))
    stage = opened(log, tmp_path, provider, max_attempts=1)
    stage._judge._clock = clock  # type: ignore[union-attr] pauses pass as fast as the test wants
    provider.away = True

    def step() -> None:
        stage.step()
        clock.advance(0.5)

    until(lambda: len(provider.requests) >= 30, step)
    assert log.read(DEAD, 0) == []
    assert reason(log) == "Unavailable"
    provider.away = False
    until(lambda: settled(log) == 6, step)
    stage.close()
    assert log.read(DEAD, 0) == []
    assert spent(tmp_path).calls == len(provider.billed)
    assert reason(log) == "Answering"


def test_while_the_teacher_is_away_two_prompts_at_a_time_look_whether_it_is_back(
    log: TopicLog, tmp_path: Path, provider: Provider
):
    put(log, *(f"fine {number}" for number in range(40)))
    provider.away = True
    stage = opened(log, tmp_path, provider)
    until(lambda: reason(log) == "Unavailable", stage.step)
    seen = len(provider.requests)
    assert seen <= 41
    stage._judge._resume_at = 0.0  # type: ignore[union-attr]
    until(lambda: stage._judge.pauses, stage.step)  # type: ignore[union-attr]
    stage.close()
    assert len(provider.requests) - seen <= 3, "two prompts and a probe"


def test_closing_one_stage_leaves_another_on_the_same_store_alone(log: TopicLog, tmp_path: Path, provider: Provider):
    put(log, *(f"slow {number}" for number in range(4)))
    stage = opened(log, tmp_path, provider)
    template = {"apikey": provider.key, "model": provider.protocol.model, "endpoint": provider.endpoint}
    other = LabelStage(
        LabelOptions(finetuner_id("other"), TeacherOptions("lead", "OpenAI", template)), log, "me", tmp_path
    )
    stage.step()
    for _ in range(3):
        other.step()
        other.close()
        other = LabelStage(
            LabelOptions(finetuner_id("other"), TeacherOptions("lead", "OpenAI", template)), log, "me", tmp_path
        )
    until(lambda: settled(log) == 4, stage.step)
    stage.close()
    other.close()
    assert provider.asked == Counter({f"slow {number}": 1 for number in range(4)})


CHILD = """
import json, sys
from pathlib import Path
from headrace.log.registry import open_log
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.stage import LabelStage
from headrace.teachers.teacher import TeacherOptions
from headrace.testing.resource_ids import finetuner_id

state, template, until = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
log = open_log(state)
stage = LabelStage(LabelOptions(finetuner_id("desk"), TeacherOptions("lead", "OpenAI", template), concurrency=8), log, "me", state)
while log.offset(stage.name, "default.desk.prompts") < until:
    stage.step()
stage.close()
log.close()
"""


def child(state: Path, provider: Provider, until: int) -> "subprocess.Popen[bytes]":
    template = {"apikey": provider.key, "model": provider.protocol.model, "endpoint": provider.endpoint}
    return subprocess.Popen([sys.executable, "-c", CHILD, str(state), json.dumps(template), str(until)])


@pytest.mark.kill
@pytest.mark.parametrize("moment", [3, 20, 31])
def test_after_kill_9_everything_billed_is_stored_or_named_as_lost_to_the_kill(
    log: TopicLog, tmp_path: Path, provider: Provider, moment: int
):
    provider.slow_seconds = 0.05
    texts = [("slow", "refuse", "slow")[number % 3] + f" {number}" for number in range(40)]
    put(log, *texts)
    killed = child(tmp_path, provider, 40)
    until(lambda: len(provider.requests) >= moment, rest)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    paid = spent(tmp_path)
    assert paid.calls + paid.open_reservations >= len(provider.billed) >= paid.calls
    assert paid.open_reservations <= 8, "no more than one window of concurrency"
    again = child(tmp_path, provider, 40)
    assert again.wait(timeout=PATIENCE_SECONDS) == 0
    twice = sum(count - 1 for count in provider.asked.values())
    assert twice <= paid.open_reservations
    store = AnswerStore(tmp_path / "teachers.sqlite")
    store._file.writer.execute("UPDATE reservations SET expires_at_ms = 1")
    store._file.close()
    last = opened(log, tmp_path, provider)
    last.step()
    last.close()
    after = spent(tmp_path)
    assert (after.calls, after.open_reservations) == (40, 0)
    assert after.killed_calls == paid.open_reservations
    assert after.calls <= len(provider.billed) <= after.calls + after.killed_calls
    assert [outcomes(log)[f"p{n}"] for n in range(40)] == [
        "refused" if text.startswith("refuse") else f"answer to {text}" for text in texts
    ]


@pytest.mark.kill
def test_a_child_that_is_asked_to_end_leaves_no_reservation_open(log: TopicLog, tmp_path: Path, provider: Provider):
    provider.slow_seconds = 0.3
    put(log, *(f"slow {number}" for number in range(8)))
    stage = opened(log, tmp_path, provider)
    until(lambda: len(provider.requests) == 8, stage.step)
    stage.close()
    paid = spent(tmp_path)
    assert (paid.calls, paid.open_reservations) == (8, 0) == (len(provider.billed), 0)
