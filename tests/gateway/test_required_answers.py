"""What a client sees when answers cannot be kept: nothing where that is best effort, an error where they are required."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest

from headrace.control.stage_thread import ReopenedStage
from headrace.doors.serve_role import ServeRole, opened
from headrace.events import topics
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import DiskFullError, UnavailableError
from headrace.foundation.failpoints import armed
from headrace.log.registry import open_log
from headrace.stages.serve.journal import JournalLimits
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.testing.builders import read_all
from headrace.testing.resource_ids import base_model_id, finetuner_id

HELLO = [{"role": "user", "content": "hello"}]


def eventually(what: Callable[[], Any], seconds: float = 60) -> None:
    deadline = SYSTEM_CLOCK.monotonic() + seconds
    while not what():
        assert SYSTEM_CLOCK.monotonic() < deadline
        SYSTEM_CLOCK.sleep(0.02)


@contextmanager
def serving(
    state: Path, root: Path, served: type, answers: Literal["best-effort", "required"]
) -> Iterator[tuple[ServeRole, openai.OpenAI]]:
    log = open_log(state)
    options = ServeOptions(
        (ServedModel(finetuner_id("desk", "red"), root / "parrot", base_model_id("tiny", "red")),), answers=answers
    )
    with opened(options, log, state) as role, served(role.app) as gateway:
        eventually(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 200)
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
            yield role, client
    log.close()


def metrics(client: openai.OpenAI) -> str:
    return httpx.get(str(client.base_url).replace("/v1/", "/metrics")).text


def refuse(role: ServeRole, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the journal's file has no room."""

    def full(_: object) -> None:
        raise DiskFullError("the journal of answers: disk full")

    monkeypatch.setattr(role.journal._file, "append", full)


def test_a_required_answer_that_cannot_be_kept_ends_in_503_before_its_last_byte(
    tmp_path: Path, root: Path, served: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, root, served, "required") as (role, client):
        assert client.chat.completions.create(model="desk", messages=HELLO, max_tokens=2).choices[0].message.content
        refuse(role, monkeypatch)
        with pytest.raises(openai.InternalServerError, match=r"answers are required: .*disk full") as raised:
            client.chat.completions.create(model="desk", messages=HELLO, max_tokens=2)
        assert raised.value.status_code == 503
        assert raised.value.response.headers["retry-after"] == "1"
        assert "disk full" in str(role.journal.refusal())
        with pytest.raises(openai.InternalServerError, match="disk full"):  # refused before a token is written
            client.chat.completions.create(model="desk", messages=HELLO, stream=True)
        assert sum(role.journal.dropped.values()) == 1
        monkeypatch.undo()
        eventually(lambda: role.journal.refusal() is None)
        assert client.chat.completions.create(model="desk", messages=HELLO, max_tokens=2).choices[0].message.content


def test_a_stream_whose_answer_cannot_be_kept_ends_in_an_error_and_not_in_its_last_piece(
    tmp_path: Path, root: Path, served: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, root, served, "required") as (role, client):
        refuse(role, monkeypatch)
        stream = client.chat.completions.create(model="desk", messages=HELLO, max_tokens=4, stream=True)
        pieces = [next(stream) for _ in range(4)]  # the role, and all letters but the last
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "zzz"
        assert {piece.choices[0].finish_reason for piece in pieces} == {None}
        with pytest.raises(openai.APIError, match="disk full"):
            next(stream)
        labels = 'kind="StreamFinetuner",namespace="red",model="desk"'
        eventually(lambda: f'headrace_requests_total{{{labels},status="503"}} 1' in metrics(client))
        assert f"headrace_answers_dropped_total{{{labels}}} 1" in metrics(client)


def test_best_effort_gives_the_answer_and_counts_what_it_cannot_keep(
    tmp_path: Path, root: Path, served: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, root, served, "best-effort") as (role, client):
        monkeypatch.setattr(role.journal, "_limits", JournalLimits(answers=2))
        for _ in range(5):
            assert client.chat.completions.create(model="desk", messages=HELLO, max_tokens=2).choices[0].message.content
        labels = 'kind="StreamFinetuner",namespace="red",model="desk"'
        assert f"headrace_answers_dropped_total{{{labels}}} 3" in metrics(client)
        assert f"headrace_answers_waiting{{{labels}}} 2" in metrics(client)


def test_the_doors_go_on_while_the_stage_fails_and_is_opened_again(tmp_path: Path, root: Path, served: type) -> None:
    with serving(tmp_path, root, served, "best-effort") as (role, client):

        def away() -> None:
            raise UnavailableError("the log does not answer")

        ids: list[str] = []
        stage = ReopenedStage(lambda: role.open_stage("test"))
        for _ in range(2):
            ids.append(client.chat.completions.create(model="desk", messages=HELLO, max_tokens=2).id)
            role.journal.flush()
            with armed("log.commit.before", away), pytest.raises(UnavailableError):
                stage.step()
        while stage.step():
            pass
        assert [one.id for one in read_all(role.log, topics.answers("red"))] == ids
        stage.close()
