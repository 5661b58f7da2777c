"""Answers from documents: the official client, real replicas, passages as a retriever gives them."""

import json

import openai
import pytest

from headrace.events.message import Message, Passage
from headrace.foundation.errors import UnavailableError
from headrace.knowledge.filters import parse_filter
from headrace.serving.grounding import Grounded, KnowledgeWishes, as_trained
from headrace.serving.version_source import VersionRef

PASSAGES = tuple(Passage(f"doc-{n}.md", f"v{n}", n, f"the quick brown fox {n}", 1.0 / (n + 1)) for n in range(3))


class Shelf:
    """Finds the same passages for every question and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, KnowledgeWishes]] = []
        self.passages = PASSAGES
        self.degraded = ""

    async def find(self, version: VersionRef, question: str, wishes: KnowledgeWishes) -> Grounded:
        parse_filter(wishes.filter, names=("product",))
        if question == "fail":
            raise UnavailableError("the store is away")
        self.asked.append((version.version, question, wishes))
        return Grounded(self.passages[: wishes.limit or 2], "g1", self.degraded)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="module")
def grounded(root, open_gateway, shelf):
    with open_gateway(root, grounding=shelf) as gateway:
        yield gateway


@pytest.fixture
def client(grounded):
    with openai.OpenAI(base_url=f"{grounded.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, question: str = "you today", **wishes):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.with_raw_response.create(model="desk", messages=messages, max_tokens=4, **wishes)


def test_an_answer_says_which_generation_and_which_passages_it_comes_from(client, shelf) -> None:
    raw = ask(client)
    told = json.loads(raw.text)["knowledge"]
    assert raw.headers["x-headrace-knowledge-version"] == told["version"] == "g1"
    assert [(one["document"], one["version"], one["chunk"]) for one in told["citations"]] == [
        ("doc-0.md", "v0", 0),
        ("doc-1.md", "v1", 1),
    ]
    assert shelf.asked[-1][:2] == ("v1", "you today")
    assert raw.parse().choices[0].message.content  # a plain client reads it as ever


def test_the_prompt_is_the_one_that_was_trained(client, grounded) -> None:
    answer = ask(client).parse()
    recorded = grounded.recorder.answers[answer.id]
    assert recorded.messages == [
        Message("system", "you are kind."),
        Message("user", "hello {knowledge} how are you today?"),
    ]
    assert recorded.passages == list(PASSAGES[:2])
    assert recorded.knowledge == "g1"


def test_passages_lengthen_the_prompt_and_without_them_their_place_is_empty(client) -> None:
    full = ask(client).parse().usage.prompt_tokens
    empty = ask(client, extra_body={"knowledge": {"off": True}})
    assert empty.headers["x-headrace-knowledge-version"] == "none"
    assert "knowledge" not in json.loads(empty.text)
    assert empty.parse().usage.prompt_tokens < full


def test_the_client_may_filter_and_limit(client, shelf) -> None:
    raw = ask(client, extra_body={"knowledge": {"filter": {"product": "cards"}, "limit": 1}})
    assert len(json.loads(raw.text)["knowledge"]["citations"]) == 1
    assert shelf.asked[-1][2] == KnowledgeWishes(False, 1, {"product": "cards"})


def test_only_passages_that_fit_are_cited(client, shelf) -> None:
    shelf.passages = (PASSAGES[0], Passage("long.md", "v1", 0, "fox " * 300, 0.1))
    try:
        told = json.loads(ask(client).text)["knowledge"]
    finally:
        shelf.passages = PASSAGES
    assert [one["document"] for one in told["citations"]] == ["doc-0.md"]


def test_a_search_that_was_only_half_possible_is_told(client, shelf) -> None:
    shelf.degraded = "no embedding model answers: keywords alone"
    try:
        told = json.loads(ask(client).text)["knowledge"]
    finally:
        shelf.degraded = ""
    assert told["degraded"] == "no embedding model answers: keywords alone"


def test_a_stream_tells_its_sources_in_its_first_chunk(client) -> None:
    chunks = list(ask(client, stream=True).parse())
    assert chunks[0].model_extra["knowledge"]["version"] == "g1"
    assert all("knowledge" not in (chunk.model_extra or {}) for chunk in chunks[1:])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"filter": {"price": 1}}, "unknown metadata field 'price'"),
        ({"filter": {"product": {"like": "%"}}}, "unknown operator 'like'"),
        ({"filter": {"product' OR 1=1 --": "x"}}, "unknown metadata field"),
        ({"limit": 0}, "limit"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_is_wrong_with_a_wish_is_said(client, body, said) -> None:
    with pytest.raises(openai.BadRequestError, match=r"unknown|limit|nonsense") as caught:
        ask(client, extra_body={"knowledge": body})
    assert said in str(caught.value)


def test_a_store_that_is_away_is_an_error_that_may_pass(client) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "fail")
    assert caught.value.status_code == 503


def test_a_question_takes_the_place_of_the_templates_one_field() -> None:
    asked = (Message("user", "why?"),)
    assert as_trained(asked, "A {knowledge} B {text} C") == (Message("user", "A {knowledge} B why? C"),)
    assert as_trained(asked, "{knowledge}: {text} {other}") == (Message("user", "{knowledge}\n\nwhy?"),)
    assert as_trained(asked, "{text}") == asked
    own = (Message("user", "{knowledge} mine"),)
    assert as_trained(own, "{knowledge} {text}") == own
    talk = (Message("user", "{text}?"), Message("assistant", "yes"), Message("user", "why {text}?"))
    assert as_trained(talk, "{knowledge} {text}")[-1] == Message("user", "{knowledge} why {text}?")
