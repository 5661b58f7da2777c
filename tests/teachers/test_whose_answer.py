"""An answer belongs to a namespace and to the very teacher that gave it; nothing else is answered from it."""

import asyncio
from pathlib import Path

import pytest

from headrace.events.message import Message
from headrace.foundation.resource_id import ResourceId
from headrace.teachers import registry
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import DeskAnswer, TeacherDesk
from headrace.teachers.desk_options import desk_options
from headrace.teachers.teacher import TeacherOptions
from headrace.testing.provider_servers import AzureProtocol, ProviderServer

F = ResourceId("StreamFinetuner", "default", "f")
HELLO = [Message("user", "hello")]


def ask_azure(store: Path, server: ProviderServer, owner: ResourceId = F) -> DeskAnswer:
    template = {
        "apiVersion": AzureProtocol.api_version,
        "apikey": server.key,
        "deployment": "gpt-4o",
        "endpoint": server.endpoint,
    }
    options = TeacherOptions("mega", "AzureOpenAI", template)

    async def main() -> DeskAnswer:
        desk = TeacherDesk(registry.open_teacher(options), desk_options(options), AnswerStore(store))
        answer = await desk.ask(HELLO, owner=owner, max_output_tokens=8)
        await desk.close()
        return answer

    return asyncio.run(main())


def azure() -> AzureProtocol:
    protocol = AzureProtocol()
    protocol.model = "gpt-4o"
    return protocol


def test_two_azure_resources_that_deploy_the_same_model_share_no_answers(store_path: Path):
    with ProviderServer(azure(), lambda _: "east") as east, ProviderServer(azure(), lambda _: "west") as west:
        assert ask_azure(store_path, east).text == "east"
        assert ask_azure(store_path, west).text == "west"
        again = ask_azure(store_path, east)
    assert (again.text, again.cached) == ("east", True)


@pytest.mark.parametrize("changed", ["endpoint", "model", "apiVersion", "temperature"])
def test_whatever_the_teacher_s_answers_depend_on_is_part_of_the_key(desks, changed: str):
    async def ask(desk: TeacherDesk) -> DeskAnswer:
        return await desk.ask(HELLO, owner=F, max_output_tokens=8)

    identity = {"endpoint": "http://a", "apiVersion": "1", "temperature": "0"}
    desks.use(desks.scripted("one", **identity), ask)
    if changed == "model":
        other = desks.scripted("other", model="n", **identity)
    else:
        other = desks.scripted("other", **{**identity, changed: "2"})
    assert desks.use(other, ask).text == "other"
    assert desks.use(desks.scripted("never", **identity), ask).text == "one"


def test_namespaces_share_neither_answers_nor_spending(desks):
    theirs = ResourceId("StreamFinetuner", "other-team", "f")

    async def both(desk: TeacherDesk):
        first = await desk.ask(HELLO, owner=F, max_output_tokens=8)
        second = await desk.ask(HELLO, owner=theirs, max_output_tokens=8)
        again = await desk.ask(HELLO, owner=theirs, max_output_tokens=8)
        return first, second, again, desk.spent(F), desk.spent(theirs)

    first, second, again, mine, spent = desks.use(desks.scripted("a", "b"), both)
    assert [(one.text, one.cached) for one in (first, second, again)] == [("a", False), ("b", False), ("b", True)]
    assert (mine.calls, mine.cached, spent.calls, spent.cached) == (1, 0, 1, 1)


def test_a_changed_version_of_a_document_in_one_namespace_changes_nothing_in_another(desks):
    theirs = ResourceId("StreamFinetuner", "other-team", "f")

    async def change(desk: TeacherDesk):
        for owner in (F, theirs):
            await desk.ask(HELLO, owner=owner, max_output_tokens=8, cites=[("doc", "1")])
        assert await desk.renew(F, {"doc": "2"}) == 1
        return await desk.ask(HELLO, owner=theirs, max_output_tokens=8, cites=[("doc", "1")])

    assert desks.use(desks.scripted(), change).cached
