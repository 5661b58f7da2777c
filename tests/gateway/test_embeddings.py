"""`/v1/embeddings` as OpenAI's client asks it."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import numpy as np
import openai
import pytest

from headrace.doors.embed_role import application
from headrace.doors.gateway.server import build_server
from headrace.foundation.resource_id import ResourceId
from headrace.testing.word_embedder import WordEmbedder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = build_server(application(ResourceId("EmbeddingModel", "default", "words"), WordEmbedder(), "sk-key"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=address, api_key="sk-key", max_retries=0) as client:
        yield client


def test_one_text_and_several(client: openai.OpenAI) -> None:
    one = client.embeddings.create(model="words", input="hello world")
    many = client.embeddings.create(model="words", input=["hello world", "good night"])
    assert (one.object, one.model, len(one.data), len(one.data[0].embedding)) == ("list", "words", 1, 64)
    assert [entry.index for entry in many.data] == [0, 1]
    assert np.allclose(one.data[0].embedding, many.data[0].embedding)
    assert (many.usage.prompt_tokens, many.usage.total_tokens) == (4, 4)


def test_base64_and_numbers_say_the_same(client: openai.OpenAI) -> None:
    numbers = client.embeddings.create(model="words", input="hello", encoding_format="float")
    encoded = client.embeddings.create(model="words", input="hello", encoding_format="base64")
    found = encoded.data[0].embedding
    if isinstance(found, str):
        import base64

        found = np.frombuffer(base64.b64decode(found), "<f4")
    assert np.allclose(found, numbers.data[0].embedding)


def test_fewer_dimensions_are_cut_and_normalised_again(client: openai.OpenAI) -> None:
    whole = client.embeddings.create(model="words", input="hello").data[0].embedding
    cut = client.embeddings.create(model="words", input="hello", dimensions=8).data[0].embedding
    expected = np.array(whole[:8]) / np.linalg.norm(whole[:8])
    assert np.allclose(cut, expected, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": ""},
        {"input": []},
        {"input": [1, 2]},
        {"dimensions": 65},
        {"encoding_format": "hex"},
        {"extra_body": {"nonsense": 1}},
    ],
)
def test_what_cannot_be_honoured_is_refused(client: openai.OpenAI, wrong: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(**{"model": "words", "input": "x", **wrong})


def test_a_key_is_needed(address: str) -> None:
    with (
        openai.OpenAI(base_url=address, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.embeddings.create(model="words", input="x")
