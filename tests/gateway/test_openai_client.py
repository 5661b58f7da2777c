"""The official client, against real replicas."""

import asyncio
import json
import socket
import threading
import time

import httpx
import openai
import pytest

from headrace.events.message import Message
from headrace.foundation.resource_id import ResourceId

NARROW = ResourceId("StreamFinetuner", "default", "narrow")
HELLO = [{"role": "user", "content": "hello world"}]


def chat(client: openai.OpenAI, **wishes):
    return client.chat.completions.create(**{"model": "desk", "messages": HELLO, "max_tokens": 8, **wishes})


def test_a_chat_is_answered_with_usage_finish_reason_and_headers(client, gateway) -> None:
    raw = client.chat.completions.with_raw_response.create(model="desk", messages=HELLO, max_tokens=8)
    answer = raw.parse()
    assert answer.object == "chat.completion"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8
    assert raw.headers["x-headrace-answer-id"] == answer.id
    assert raw.headers["x-headrace-model"] == "default/desk"
    assert raw.headers["x-headrace-model-version"] == "v1"
    assert raw.headers["x-headrace-knowledge-version"] == "none"


def test_the_answer_is_recorded_with_the_question_as_the_model_read_it(client, gateway) -> None:
    answer = chat(client)
    recorded = gateway.recorder.answers[answer.id]
    assert recorded.messages == [Message("system", "you are kind."), Message("user", "hello world")]
    assert (recorded.model, recorded.version, recorded.text) == ("desk", "v1", answer.choices[0].message.content)
    assert (recorded.input_tokens, recorded.output_tokens) == (answer.usage.prompt_tokens, 8)


def test_the_systems_context_is_added_only_where_the_client_sends_none(client, gateway) -> None:
    own = [{"role": "developer", "content": "hello"}, *HELLO]
    recorded = gateway.recorder.answers[chat(client, messages=own).id]
    assert [message.content for message in recorded.messages] == ["hello", "hello world"]


def test_a_stream_says_the_same_in_pieces(client) -> None:
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 4
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_asynchronous_client_streams_too(gateway) -> None:
    async def run() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
            whole = await client.chat.completions.create(model="desk", messages=HELLO, max_tokens=8)
            stream = await client.chat.completions.create(model="desk", messages=HELLO, max_tokens=8, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return whole.choices[0].message.content, "".join(pieces)

    whole, streamed = asyncio.run(run())
    assert whole == streamed


def test_stop_sequences_end_an_answer_streamed_or_not(client) -> None:
    whole = chat(client, max_tokens=12).choices[0].message.content
    stop = whole[3:5]
    stopped = chat(client, max_tokens=12, stop=[stop, "never said"])
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].message.content == whole[: whole.index(stop)]
    chunks = list(chat(client, max_tokens=12, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole[: whole.index(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_seeds_repeat_and_choices_differ(client) -> None:
    first = chat(client, temperature=1.5, top_p=0.95, seed=5, n=3)
    again = chat(client, temperature=1.5, top_p=0.95, seed=5, n=3)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) == 3
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert first.usage.completion_tokens == 24


def test_the_limit_may_be_named_in_two_ways_and_has_a_default(client) -> None:
    def tokens(**wishes) -> int:
        return client.chat.completions.create(model="desk", messages=HELLO, **wishes).usage.completion_tokens

    assert (tokens(max_completion_tokens=3), tokens(max_tokens=4), tokens()) == (3, 4, 12)


def test_log_probabilities_belong_to_the_tokens_that_are_said(client) -> None:
    answer = chat(client, logprobs=True, top_logprobs=3).choices[0]
    content = answer.logprobs.content
    assert len(content) == 8
    for token in content:
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob)
        values = [rival.logprob for rival in token.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert bytes(token.bytes).decode() == token.token
    streamed = [
        token
        for chunk in chat(client, logprobs=True, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert [token.token for token in streamed] == [token.token for token in content]
    assert all(token.top_logprobs == [] for token in streamed)


def test_a_bias_forbids_a_token(client) -> None:
    plain = chat(client, max_tokens=1, logprobs=True).choices[0].message.content
    encoded = client.completions.create(model="desk", prompt=plain, max_tokens=1, echo=True)
    assert encoded.choices[0].text.startswith(plain)
    biased = chat(client, max_tokens=1, logit_bias={str(token): -100 for token in range(40)})
    assert biased.usage.completion_tokens == 1


def test_completions_take_texts_and_tokens(client) -> None:
    one = client.completions.create(model="desk", prompt="hello world", max_tokens=5, logprobs=2)
    assert one.object == "text_completion"
    assert len(one.choices[0].logprobs.tokens) == 5
    assert one.choices[0].logprobs.text_offset[0] == 0
    several = client.completions.create(model="desk", prompt=["hello world", "fine"], max_tokens=5, n=2)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == several.choices[1].text == one.choices[0].text
    tokens = client.completions.create(model="desk", prompt=[[5, 6], [7]], max_tokens=2)
    assert tokens.usage.prompt_tokens == 3
    streamed = client.completions.create(model="desk", prompt="hello world", max_tokens=5, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == one.choices[0].text
    assert client.completions.create(model="desk", prompt="hello").usage.completion_tokens <= 16


def test_models_are_listed_and_versions_can_be_pinned(client) -> None:
    assert [model.id for model in client.models.list()] == ["desk", "narrow", "tiny"]
    assert client.models.retrieve("desk").owned_by == "headrace"
    assert client.models.retrieve("desk@v2").id == "desk@v2"
    assert chat(client, model="desk@v2", max_tokens=4).choices[0].message.content == "zzzz"
    assert chat(client, model="tiny").system_fingerprint == "default/tiny@base"


def test_an_unknown_model_is_404_in_openais_shape(client) -> None:
    for call in (lambda: chat(client, model="dusk"), lambda: client.models.retrieve("dusk")):
        with pytest.raises(openai.NotFoundError) as raised:
            call()
        assert raised.value.code == "model_not_found"
        assert "nearest are desk" in raised.value.message


@pytest.mark.parametrize(
    ("wishes", "param", "code"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format.type", "invalid_value"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "invalid_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 99}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"top_logprobs": 2}, None, "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role", "invalid_value"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias", "invalid_value"),
        ({"extra_body": {"colour": "blue"}}, "colour", "unsupported_parameter"),
    ],
)
def test_what_cannot_be_honoured_is_400_with_the_parameters_name(client, wishes, param, code) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        chat(client, **wishes)
    assert (raised.value.param, raised.value.code, raised.value.type) == (param, code, "invalid_request_error")


def test_images_are_refused(client) -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(openai.BadRequestError) as raised:
        chat(client, messages=[{"role": "user", "content": content}])
    assert raised.value.param.startswith("messages.0.content")


def test_a_prompt_that_is_too_long_is_400(client) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        chat(client, messages=[{"role": "user", "content": "hello " * 300}])
    assert raised.value.code == "context_length_exceeded"


def test_a_body_that_is_no_json_is_400_and_one_without_end_413(gateway) -> None:
    url = f"{gateway.url}/v1/chat/completions"
    assert httpx.post(url, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert httpx.post(url, content=b"x" * (9 * 2**20)).json()["error"]["code"] == "body_too_large"

    def endless():
        for _ in range(9):
            yield b" " * 2**20

    answer = httpx.post(url, content=endless(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_full_queue_is_429_with_retry_after(client, gateway) -> None:
    first = chat(client, model="narrow", max_tokens=900, stream=True)
    next(iter(first))
    waiting = threading.Thread(target=lambda: chat(client, model="narrow", max_tokens=2))
    waiting.start()
    wait_for(lambda: gateway.pools[NARROW].state.queued == 1)
    with pytest.raises(openai.RateLimitError) as raised:
        chat(client, model="narrow")
    assert raised.value.code == "queue_full"
    assert raised.value.response.headers["retry-after"] == "1"
    first.close()
    waiting.join()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_the_replicas_work(gateway, stream: bool) -> None:
    pool, known = gateway.pools[NARROW], set(gateway.recorder.answers)
    body = json.dumps({"model": "narrow", "messages": HELLO, "max_tokens": 1000, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        wait_for(lambda: pool.replicas[0].running == 1)
    wait_for(lambda: pool.state.running == 0 and pool.replicas[0].running == 0)
    wait_for(lambda: set(gateway.recorder.answers) - known)
    (answer_id,) = set(gateway.recorder.answers) - known
    assert gateway.recorder.answers[answer_id].finish_reason == "cancelled"


def test_an_alias_that_moves_changes_the_next_answers(client, gateway) -> None:
    gateway.versions.served = "v2"
    try:
        wait_for(lambda: chat(client, max_tokens=4).system_fingerprint == "default/desk@v2")
        assert chat(client, max_tokens=4).choices[0].message.content == "zzzz"
    finally:
        gateway.versions.served = "v1"
    wait_for(lambda: chat(client, max_tokens=4).system_fingerprint == "default/desk@v1")


def test_feedback_is_taken_for_answers_that_were_given(client, gateway) -> None:
    answer = chat(client)
    url = f"{gateway.url}/v1/feedback"
    body = {"answer_id": answer.id, "rating": -1, "correction": "card | payments"}
    taken = httpx.post(url, json=body)
    assert (taken.status_code, taken.json()["correction"]) == (202, "stored; corrections are not used for training yet")
    assert "correction" not in httpx.post(url, json={"answer_id": answer.id, "rating": -1}).json()
    httpx.post(url, json=body)
    assert gateway.recorder.feedback[-1].correction == "card | payments"
    assert httpx.post(url, json={"answer_id": "none", "rating": 1}).json()["error"]["code"] == "not_found"
    assert httpx.post(url, json={"answer_id": answer.id}).status_code == 400


def test_health_metrics_and_the_description_are_there(client, gateway) -> None:
    chat(client)
    assert httpx.get(f"{gateway.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{gateway.url}/readyz").status_code == 200
    page = httpx.get(f"{gateway.url}/metrics").text
    assert 'headrace_requests_total{kind="StreamFinetuner",namespace="default",model="desk",status="200"}' in page
    assert 'headrace_request_seconds_bucket{kind="StreamFinetuner",namespace="default",model="desk",le="+Inf"}' in page
    assert 'headrace_replicas{kind="StreamFinetuner",namespace="default",model="desk"} 1' in page
    paths = httpx.get(f"{gateway.url}/openapi.json").json()["paths"]
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/feedback"} <= set(paths)
    assert json.loads(httpx.get(f"{gateway.url}/nothing").text)["error"]["type"] == "invalid_request_error"


def wait_for(condition, seconds: float = 30) -> None:
    """Until a server in another thread has got there."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
