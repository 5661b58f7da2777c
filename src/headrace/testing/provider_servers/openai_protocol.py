"""OpenAI's chat completions, and Azure's form of them."""

from collections.abc import Mapping

from headrace.testing.provider_servers import shapes
from headrace.testing.provider_servers.server import Protocol, Reply, Request, Scripted

_KNOWN = {
    "model",
    "messages",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stop",
    "top_p",
    "n",
    "user",
}
_LIMITS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
}


class OpenAIProtocol(Protocol):
    """POST {endpoint}/chat/completions with a bearer key."""

    without_temperature = False
    """Behaves as a model that takes neither `temperature` other than 1 nor `max_tokens`."""

    def endpoint(self, host: str, port: int) -> str:
        return f"http://{host}:{port}/v1"

    def refuse(self, request: Request) -> Reply | None:
        if (request.method, request.path) != ("POST", "/v1/chat/completions"):
            return _error(404, f"Invalid URL ({request.method} {request.path})", None)
        sent = request.headers.get("authorization", "")
        if sent != f"Bearer {self.key}":
            return _error(401, f"Incorrect API key provided: {sent.removeprefix('Bearer ')}.", "invalid_api_key")
        return self._refuse_body(request)

    def _refuse_body(self, request: Request) -> Reply | None:
        if not isinstance(request.json(), Mapping):
            return _error(400, "We could not parse the JSON body of your request.", None)
        fields = request.fields()
        if fields.get("model") != self.model:
            return _error(404, f"The model `{fields.get('model')}` does not exist.", "model_not_found")
        if self.without_temperature and "max_tokens" in fields:
            return _error(400, "Unsupported parameter: 'max_tokens'.", "unsupported_parameter", "max_tokens")
        if self.without_temperature and fields.get("temperature", 1) != 1:
            return _error(
                400, "Unsupported value: 'temperature' does not support 0.", "unsupported_value", "temperature"
            )
        problem = (
            shapes.unknown_keys(fields, _KNOWN)
            or shapes.chat(fields.get("messages"), {"system", "user", "assistant"})
            or shapes.whole_number(fields, "max_tokens")
            or shapes.whole_number(fields, "max_completion_tokens")
            or shapes.number(fields, "temperature", 0, 2)
        )
        return _error(400, problem, None) if problem else None

    def answer(self, request: Request, scripted: Scripted) -> Reply:
        match scripted.behaviour:
            case "rate_limited":
                return _error(429, "Rate limit reached for requests", "rate_limit_exceeded")
            case "server_error":
                return _error(500, "The server had an error while processing your request.", None)
            case "overloaded":
                return _error(503, "The engine is currently overloaded, please try again later.", None)
            case "too_long":
                return _error(400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded")
            case "echo_key":
                return _error(400, f"Bad request with headers {dict(request.headers)}", None)
            case "refusal":
                return self._completion(request, None, "stop", refusal="I'm sorry, I can't help with that.")
            case "content_filter":
                return self._filtered(request)
            case "cut_off":
                return self._completion(request, scripted.text, "length")
            case "empty":
                return self._completion(request, "", "stop")
            case _:
                return self._completion(request, scripted.text, "stop")

    def _filtered(self, request: Request) -> Reply:
        return self._completion(request, "", "content_filter")

    def _completion(self, request: Request, text: str | None, finish_reason: str, refusal: str | None = None) -> Reply:
        asked, answered = shapes.words(request.fields().get("messages")), shapes.words(text or refusal or "")
        message = {"role": "assistant", "content": text, "refusal": refusal}
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": f"{self.model}-2024-08-06",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
            "usage": {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered},
        }
        return Reply(200, body, _LIMITS)


class AzureProtocol(OpenAIProtocol):
    """POST {endpoint}/openai/deployments/{deployment}/chat/completions?api-version=… with an `api-key` header."""

    api_version = "2024-10-21"

    def endpoint(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def refuse(self, request: Request) -> Reply | None:
        if request.headers.get("api-key") != self.key:
            said = f"Access denied due to invalid subscription key {request.headers.get('api-key')}."
            return Reply(401, {"error": {"code": "401", "message": said}})
        if request.query != f"api-version={self.api_version}":
            return Reply(404, {"error": {"code": "404", "message": "Resource not found"}})
        if (request.method, request.path) != ("POST", f"/openai/deployments/{self.model}/chat/completions"):
            said = "The API deployment for this resource does not exist."
            return Reply(404, {"error": {"code": "DeploymentNotFound", "message": said}})
        return self._refuse_body(request)

    def _filtered(self, request: Request) -> Reply:  # noqa: ARG002 the prompt is not looked at
        """Azure refuses the prompt itself, with a 400."""
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True}}}
        said = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        error = {
            "message": said,
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": inner,
        }
        return Reply(400, {"error": error})


def _error(status: int, message: str, code: str | None, param: str | None = None) -> Reply:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return Reply(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})
