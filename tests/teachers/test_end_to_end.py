"""Desk, official client and a server that misbehaves, in real time."""

import asyncio
from pathlib import Path

import pytest

from headrace.events.message import Message
from headrace.foundation.resource_id import ResourceId
from headrace.teachers import registry
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import DeskAnswer, TeacherDesk
from headrace.teachers.desk_options import desk_options
from headrace.teachers.ledger import Spending
from headrace.teachers.teacher import TeacherOptions
from headrace.testing.provider_servers import OpenAIProtocol, ProviderServer, Request, Scripted

F = ResourceId("StreamFinetuner", "default", "f")


def last_word(request: Request) -> str:
    return request.fields()["messages"][-1]["content"].split()[-1]


def test_every_question_is_answered_once_though_the_server_fails_in_between(store_path: Path):
    async def main(server: ProviderServer) -> tuple[list[DeskAnswer], Spending]:
        template = {"apikey": server.key, "model": server.protocol.model, "endpoint": server.endpoint}
        options = TeacherOptions("mega", "OpenAI", template, 20.0, 1.0, 2.0)
        store = AnswerStore(store_path)
        desk = TeacherDesk(registry.open_teacher(options), desk_options(options, concurrency=8), store)
        prompts = [[Message("user", f"question number {number % 30}")] for number in range(60)]
        answers = await asyncio.gather(*(desk.ask(prompt, owner=F, max_output_tokens=8) for prompt in prompts))
        spent = desk.spent(F)
        await desk.close()
        return answers, spent

    with ProviderServer(OpenAIProtocol(), last_word) as server:
        server.script(
            "ok", "server_error", Scripted("rate_limited", headers={"retry-after-ms": "30"}), "cut", "ok", "malformed"
        )
        answers, spent = asyncio.run(main(server))
        assert len(server.requests) == 30 + 4
    assert [answer.text for answer in answers] == [str(number % 30) for number in range(60)]
    assert sum(answer.cached for answer in answers) == 30
    assert (spent.calls, spent.cached, spent.open_reservations) == (30, 30, 0)
    assert (spent.broken_calls, spent.killed_calls) == (2, 0)
    assert sum(answer.price.usd for answer in answers) == pytest.approx(spent.usd)
