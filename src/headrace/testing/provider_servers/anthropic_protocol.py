"""Anthropic's Messages API."""

import re
from collections.abc import Mapping

from headrace.testing.provider_servers import shapes
from headrace.testing.provider_servers.server import Protocol, Reply, Request, Scripted

_KNOWN = {"model", "messages", "max_tokens", "system", "metadata", "stop_sequences", "thinking"}
_LIMITS = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:30Z",
    "anthropic-ratelimit-tokens-limit": "40000",
    "anthropic-ratelimit-tokens-remaining": "39000",
    "anthropic-ratelimit-tokens-reset": "2023-11-14T22:14:20Z",
    "date": "Tue, 14 Nov 2023 22:13:20 GMT",
}


class AnthropicProtocol(Protocol):
    """POST {endpoint}/v1/messages with a key (`x-api-key`, or as a bearer) and `anthropic-version`."""

    def endpoint(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def refuse(self, request: Request) -> Reply | None:
        if (request.method, request.path) != ("POST", "/v1/messages"):
            return _error(404, "not_found_error", "Not found")
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if key != self.key:
            return _error(401, "authentication_error", f"invalid x-api-key {key}")
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", request.headers.get("anthropic-version", "")):
            return _error(400, "invalid_request_error", "anthropic-version: header is required")
        if not isinstance(request.json(), Mapping):
            return _error(400, "invalid_request_error", "The request body is not valid JSON")
        fields = request.fields()
        if fields.get("model") != self.model:
            return _error(404, "not_found_error", f"model: {fields.get('model')}")
        problem = (
            shapes.unknown_keys(fields, _KNOWN)
            or shapes.whole_number(fields, "max_tokens", needed=True)
            or shapes.chat(fields.get("messages"), {"user", "assistant"}, alternating=True)
            or (None if isinstance(fields.get("system", ""), str) else "system: must be text")
        )
        return _error(400, "invalid_request_error", problem) if problem else None

    def answer(self, request: Request, scripted: Scripted) -> Reply:
        match scripted.behaviour:
            case "rate_limited":
                return _error(429, "rate_limit_error", "This request would exceed your organization's rate limit.")
            case "server_error":
                return _error(500, "api_error", "Internal server error")
            case "overloaded":
                return _error(529, "overloaded_error", "Overloaded")
            case "too_long":
                return _error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
            case "echo_key":
                return _error(400, "invalid_request_error", f"Bad request with headers {dict(request.headers)}")
            case "refusal" | "content_filter":
                return self._message(request, "", "refusal")
            case "cut_off":
                return self._message(request, scripted.text, "max_tokens")
            case "empty":
                return self._message(request, "", "end_turn")
            case _:
                return self._message(request, scripted.text, "end_turn")

    def _message(self, request: Request, text: str, stop_reason: str) -> Reply:
        fields = request.fields()
        asked = shapes.words(fields.get("messages")) + shapes.words(fields.get("system"))
        usage = {
            "input_tokens": asked,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": shapes.words(text),
        }
        body = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": f"{self.model}-20240620",
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }
        return Reply(200, body, _LIMITS)


def _error(status: int, kind: str, message: str) -> Reply:
    return Reply(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
