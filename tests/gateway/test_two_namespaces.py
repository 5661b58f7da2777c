"""Two namespaces with the same names for everything and different weights, documents and vectors behind one gateway: nothing crosses."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from headrace.control.role import StageThread
from headrace.doors.embed_role import application
from headrace.doors.serve_role import opened
from headrace.events import codec, topics
from headrace.events.answer import Answer, Feedback
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.promotion import registry
from headrace.promotion.registry import Registry, Version
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import IndexStage
from headrace.stages.ingest.stage import IngestState, state_key
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.stage import read_statuses
from headrace.stages.train.alias_commands import promote_now
from headrace.stages.train.version_store import versions
from headrace.testing.builders import read_all
from headrace.testing.parrot_checkpoint import new_parrot
from headrace.testing.resource_ids import (
    base_model_id,
    connector_id,
    embedding_model_id,
    finetuner_id,
    knowledge_base_id,
)
from headrace.testing.word_embedder import WordEmbedder

SAYS = {"red": "r", "blue": "b"}
DIMENSIONS = {"red": 32, "blue": 64}
HELLO = [{"role": "user", "content": "fees"}]


@dataclass(frozen=True)
class House:
    """The gateway's address and the log behind it."""

    url: str
    log: TopicLog

    def metrics(self) -> dict[str, float]:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, served: type) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    log = open_log(root / "state")
    for word in "rbwt":
        new_parrot(root / word, word)
    with ExitStack() as stack:
        bases = [base(namespace, root, log, stack, served) for namespace in SAYS]
        desks = [
            ServedModel(
                finetuner_id("desk", namespace), root / SAYS[namespace], base_model_id("tiny", namespace),
                knowledge=found, knowledge_limit=1, user_question="{knowledge} {text}",
            )
            for namespace, found in zip(SAYS, bases, strict=True)
        ]  # fmt: skip
        alone = base_model_id("tiny", "blue")
        tiny = ServedModel(alone, root / "t", alone)
        register(log, root / "state", "red", root / "r", root / "w")
        options = ServeOptions((*desks, tiny), knowledge=tuple(bases), embed=tuple(one.embedding for one in bases))
        role = stack.enter_context(opened(options, log, root / "state"))
        thread = StageThread(lambda: role.open_stage("test"), log, on_end=lambda: None)
        stack.callback(thread.stop)
        thread.start()
        gateway = stack.enter_context(served(role.app))
        eventually(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 200)
        yield House(gateway.url, log)
    log.close()
    assert thread.exit_code == 0


def base(namespace: str, root: Path, log: TopicLog, stack: ExitStack, served: type) -> KnowledgeOptions:
    """A knowledge base `policies` with one document, and its embedding model `words` behind a server of its own."""
    embedder = WordEmbedder(DIMENSIONS[namespace], name=namespace)
    model = embedding_model_id("words", namespace)
    server = stack.enter_context(served(application(model, embedder, "key")))
    options = KnowledgeOptions(
        knowledge_base_id("policies", namespace),
        connector_id("docs", namespace),
        EmbedOptions(model, url=f"{server.url}/v1", api_key="key"),
    )
    topic, now = topics.events(connector_id("docs", namespace)), SYSTEM_CLOCK.now_ms()
    row = json.dumps({"path": "fees.md", "body": f"the fees of {namespace}"}).encode()
    log.ensure_topic(TopicSpec(topic))
    state = codec_state()
    log.commit(
        Commit(
            [Append(topic, [NewRecord("d1", codec.ROW, row, now)])],
            state={state_key(connector_id("docs", namespace)): state},
        )
    )
    index = IndexStage(options, log, "test", root / "state", embedder=embedder)
    while index.step():
        pass
    index.close()
    return options


def codec_state() -> bytes:
    """As ingest says once it has read everything there was."""
    import msgspec

    return msgspec.msgpack.encode(IngestState(b"", [], 0, 0, ended=False, caught_up_for="test"))


def register(log: TopicLog, state: Path, namespace: str, zero: Path, one: Path) -> None:
    """A registry with v0, which is served, and v1."""
    store = versions(state, finetuner_id("desk", namespace))
    digests = [store.put(lambda place, source=path: copy(source, place)) for path in (zero, one)]
    found = Registry.of_base(digests[0], "", 0).with_version(Version("v1", digests[1], "v0", 1, 0, ""))
    key, value, expected = registry.save(found, finetuner_id("desk", namespace), 0)
    log.commit(Commit(state={key: value}, expect={key: expected}))


def copy(source: Path, place: Path) -> None:
    shutil.copytree(source, place, dirs_exist_ok=True)


def eventually(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Until a thread or a process has got there."""
    deadline = SYSTEM_CLOCK.monotonic() + seconds
    while not (found := what()):
        assert SYSTEM_CLOCK.monotonic() < deadline
        SYSTEM_CLOCK.sleep(0.02)
    return found


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, model: str, **wishes: Any) -> Any:
    return client.chat.completions.create(model=model, messages=HELLO, max_tokens=3, **wishes)


def recorded(house: House, namespace: str, answer_id: str) -> Answer:
    found = eventually(lambda: house.log.find(topics.answers(namespace), answer_id))
    return codec.decode(found, Answer)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "says", "namespace"),
    [
        ("red/desk", "rrr", "red"),
        ("blue/desk", "bbb", "blue"),
        ("red/desk@v1", "www", "red"),
        ("StreamFinetuner/blue/desk", "bbb", "blue"),
        ("tiny", "ttt", "blue"),
        ("blue/tiny", "ttt", "blue"),
    ],
)
def test_a_model_answers_with_its_own_weights_into_its_own_topic(
    client: openai.OpenAI, house: House, name: str, says: str, namespace: str, stream: bool
) -> None:
    if stream:
        chunks = list(ask(client, name, stream=True))
        answer_id, text = chunks[0].id, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        fingerprint = chunks[0].system_fingerprint
    else:
        answer = ask(client, name)
        answer_id, text = answer.id, answer.choices[0].message.content
        fingerprint = answer.system_fingerprint
    assert text == says
    assert fingerprint.startswith(f"{namespace}/")
    kept = recorded(house, namespace, answer_id)
    assert (kept.text, kept.model) == (says, name.partition("@")[0].rpartition("/")[2])
    other = {"red": "blue", "blue": "red"}[namespace]
    assert house.log.find(topics.answers(other), answer_id) is None


def test_an_ambiguous_name_is_404_with_the_candidates(client: openai.OpenAI) -> None:
    for call in (lambda: ask(client, "desk"), lambda: ask(client, "desk@v1"), lambda: client.models.retrieve("desk")):
        with pytest.raises(openai.NotFoundError, match="blue/desk, red/desk"):
            call()


def test_models_are_listed_by_the_shortest_name_that_means_them(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert sorted(listed) == ["blue/desk", "red/desk", "tiny"]
    assert {name: model.namespace for name, model in listed.items()} == {
        "blue/desk": "blue", "red/desk": "red", "tiny": "blue",
    }  # fmt: skip
    for name in listed:
        assert client.models.retrieve(name).id == name
    pinned = client.models.retrieve("red/desk@v1")
    assert (pinned.id, pinned.version, pinned.namespace) == ("red/desk@v1", "v1", "red")
    assert client.models.retrieve("blue/tiny").name == "tiny"


def test_feedback_goes_to_the_answers_namespace_alone(client: openai.OpenAI, house: House) -> None:
    for namespace in SAYS:
        answer = ask(client, f"{namespace}/desk")
        sent = httpx.post(f"{house.url}/v1/feedback", json={"answer_id": answer.id, "rating": 1, "comment": namespace})
        assert sent.status_code == 202
        other = {"red": "blue", "blue": "red"}[namespace]
        forged = answer.id.replace(f".{namespace}", f".{other}")
        assert httpx.post(f"{house.url}/v1/feedback", json={"answer_id": forged, "rating": 1}).status_code == 404
    for namespace in SAYS:
        kept = [codec.decode(one, Feedback).comment for one in read_all(house.log, topics.feedback(namespace))]
        assert kept == [namespace]


def test_each_choice_of_an_answer_is_kept_and_takes_feedback(client: openai.OpenAI, house: House) -> None:
    answer = ask(client, "red/desk", n=2)
    assert recorded(house, "red", f"{answer.id}.1").text == "rrr"
    sent = httpx.post(f"{house.url}/v1/feedback", json={"answer_id": f"{answer.id}.1", "rating": -1})
    assert sent.status_code == 202
    eventually(lambda: house.log.topic(topics.feedback("red")).end_offset == 2)


def test_metrics_count_a_model_under_its_identity_whatever_name_was_used(client: openai.OpenAI, house: House) -> None:
    def requests(namespace: str, model: str, kind: str = "StreamFinetuner") -> float:
        labels = f'kind="{kind}",namespace="{namespace}",model="{model}",status="200"'
        return house.metrics().get(f"headrace_requests_total{{{labels}}}", 0)

    before = [requests("red", "desk"), requests("blue", "desk"), requests("blue", "tiny", "BaseModel")]
    for name in ("red/desk", "red/desk@v1", "StreamFinetuner/red/desk", "tiny", "blue/tiny"):
        ask(client, name)
    after = [requests("red", "desk"), requests("blue", "desk"), requests("blue", "tiny", "BaseModel")]
    assert [a - b for a, b in zip(after, before, strict=True)] == [3, 0, 2]
    for name in ("replicas", "swaps_total", "queue_length", "answers_dropped_total", "request_seconds_count"):
        found = [key for key in house.metrics() if key.startswith(f"headrace_{name}{{")]
        assert all('namespace="' in key for key in found)
    assert {'headrace_replicas{kind="StreamFinetuner",namespace="red",model="desk"}',
            'headrace_replicas{kind="StreamFinetuner",namespace="blue",model="desk"}'} <= set(house.metrics())  # fmt: skip


def test_passages_and_searches_come_from_the_namespaces_own_documents(client: openai.OpenAI, house: House) -> None:
    for namespace in SAYS:
        answer = ask(client, f"{namespace}/desk")
        assert [one["text"] for one in answer.model_extra["knowledge"]["citations"]] == [f"the fees of {namespace}"]
        path = f"/apis/llm.nstream.ai/v1/namespaces/{namespace}/knowledgebases/policies/search"
        found = httpx.post(house.url + path, json={"query": "fees"}).json()
        assert (found["namespace"], [one["text"] for one in found["results"]]) == (
            namespace,
            [f"the fees of {namespace}"],
        )
    freshness = {key for key in house.metrics() if key.startswith("headrace_knowledge_changes_total")}
    assert {f'namespace="{name}"' in key for name in SAYS for key in freshness} == {True, False}


def test_embedding_models_are_found_by_the_same_rule(client: openai.OpenAI, house: House) -> None:
    for namespace, dimension in DIMENSIONS.items():
        found = client.embeddings.create(model=f"{namespace}/words", input="hello")
        assert len(found.data[0].embedding) == dimension
    with pytest.raises(openai.NotFoundError, match="blue/words, red/words"):
        client.embeddings.create(model="words", input="hello")
    listed = httpx.get(f"{house.url}/v1/embeddings/models").json()["data"]
    assert [(one["id"], one["namespace"]) for one in listed] == [("blue/words", "blue"), ("red/words", "red")]


def test_statuses_say_the_version_of_each_namespaces_own_model(house: House) -> None:
    def said() -> dict[str, Any]:
        return {one.resource: one.progress.get("version") for one in read_statuses(house.log) if one.stage == "serve"}

    eventually(lambda: len(said()) == 3)
    assert said() == {
        "StreamFinetuner/red/desk": "v0", "StreamFinetuner/blue/desk": "base", "BaseModel/blue/tiny": "base",
    }  # fmt: skip


def test_a_promotion_in_one_namespace_changes_no_answer_of_the_other(client: openai.OpenAI, house: House) -> None:
    promote_now(house.log, finetuner_id("desk", "red"), "v1", "reviewed")
    eventually(lambda: ask(client, "red/desk").choices[0].message.content == "www")
    assert ask(client, "blue/desk").choices[0].message.content == "bbb"
    eventually(
        lambda: house.metrics()['headrace_swaps_total{kind="StreamFinetuner",namespace="red",model="desk"}'] == 1
    )
    assert not [key for key in house.metrics() if key.startswith("headrace_swaps_total") and "blue" in key]
