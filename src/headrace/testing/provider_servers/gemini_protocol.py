"""Google's Gemini API: `models.generateContent`."""

from collections.abc import Mapping
from typing import Any

from headrace.testing.provider_servers import shapes
from headrace.testing.provider_servers.server import Protocol, Reply, Request, Scripted

_KNOWN = {"contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig"}
_CONFIG = {"temperature", "maxOutputTokens", "topP", "topK", "stopSequences", "candidateCount", "seed"}


class GeminiProtocol(Protocol):
    """POST {endpoint}/v1/models/{model}:generateContent with `x-goog-api-key`."""

    def endpoint(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def refuse(self, request: Request) -> Reply | None:
        key = request.headers.get("x-goog-api-key")
        if key != self.key or "key=" in request.query:
            return _error(400, "INVALID_ARGUMENT", f"API key not valid: {key}. Please pass a valid API key.")
        if request.method != "POST" or request.path not in self._paths():
            return _error(404, "NOT_FOUND", f"{request.path} is not found")
        if not isinstance(request.json(), Mapping):
            return _error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        fields = request.fields()
        config: Any = fields.get("generationConfig", {})
        problem = shapes.unknown_keys(fields, _KNOWN) or _contents_problem(fields.get("contents"))
        if problem is None:
            problem = (
                shapes.unknown_keys(config, _CONFIG)
                or shapes.whole_number(config, "maxOutputTokens")
                or shapes.number(config, "temperature", 0, 2)
            )
        return _error(400, "INVALID_ARGUMENT", problem) if problem else None

    def _paths(self) -> set[str]:
        return {f"/{version}/models/{self.model}:generateContent" for version in ("v1", "v1beta")}

    def answer(self, request: Request, scripted: Scripted) -> Reply:
        match scripted.behaviour:
            case "rate_limited":
                return _exhausted()
            case "server_error":
                return _error(500, "INTERNAL", "An internal error has occurred.")
            case "overloaded":
                return _error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
            case "too_long":
                said = "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."
                return _error(400, "INVALID_ARGUMENT", said)
            case "echo_key":
                return _error(400, "INVALID_ARGUMENT", f"Bad request with headers {dict(request.headers)}")
            case "content_filter":
                body = {
                    "promptFeedback": {"blockReason": "SAFETY"},
                    "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
                }
                return Reply(200, {**body, "modelVersion": f"{self.model}-001"})
            case "refusal":
                return self._content(request, "", "SAFETY")
            case "cut_off":
                return self._content(request, scripted.text, "MAX_TOKENS")
            case "empty":
                return self._content(request, "", "STOP")
            case _:
                return self._content(request, scripted.text, "STOP")

    def _content(self, request: Request, text: str, finish_reason: str) -> Reply:
        fields = request.fields()
        asked = shapes.words(fields.get("contents")) + shapes.words(fields.get("systemInstruction"))
        candidate: dict[str, object] = {"finishReason": finish_reason, "index": 0}
        if text:
            candidate["content"] = {"role": "model", "parts": [{"text": text}]}
        usage = {"promptTokenCount": asked, "candidatesTokenCount": shapes.words(text)}
        usage["totalTokenCount"] = sum(usage.values())
        body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": f"{self.model}-001"}
        return Reply(200, body)


def _contents_problem(contents: object) -> str | None:
    if not isinstance(contents, list) or not contents:
        return "contents: is not specified"
    turns: list[Any] = contents
    for turn in turns:
        if not isinstance(turn, Mapping) or turn.get("role") not in {"user", "model"}:
            return "contents: please use a valid role: user, model"
        parts: Any = turn.get("parts")
        if not isinstance(parts, list) or not parts or not all(isinstance(part.get("text"), str) for part in parts):
            return "contents: parts must hold text"
    return None


def _exhausted() -> Reply:
    details = [
        {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
    ]
    error = {
        "code": 429,
        "message": "You exceeded your current quota.",
        "status": "RESOURCE_EXHAUSTED",
        "details": details,
    }
    return Reply(429, {"error": error})


def _error(status: int, reason: str, message: str) -> Reply:
    return Reply(status, {"error": {"code": status, "message": message, "status": reason}})
