"""Every error in OpenAI's shape: {"error": {message, type, param, code}}."""

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from headrace.foundation.errors import BusyError, HeadraceError, InvalidDeclarationError, NotFoundError, RetryableError
from headrace.models.prompt_renderer import TooLongError


def body(message: str, *, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def response(error: HeadraceError) -> JSONResponse:
    """The answer to a request that failed, before anything was sent."""
    status, content = described(error)
    headers: dict[str, str] = {}
    if isinstance(error, RetryableError):
        headers["retry-after"] = str(max(1, round(error.retry_after_seconds or 1)))
    return JSONResponse(content, status, headers)


def described(error: HeadraceError) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of an error of ours."""
    match error:
        case TooLongError():
            return 400, body(str(error), kind="invalid_request_error", param="messages", code="context_length_exceeded")
        case InvalidDeclarationError():
            return 400, body(error.message, kind="invalid_request_error", param=error.where, code="invalid_value")
        case NotFoundError():
            return 404, body(str(error), kind="invalid_request_error", param="model", code="model_not_found")
        case BusyError():
            return 429, body(str(error), kind="rate_limit_error", code="queue_full")
        case RetryableError():
            return 503, body(str(error), kind="server_error", code="unavailable")
        case _:
            return 500, body(str(error), kind="server_error", code="internal_error")


async def on_headrace_error(_: Request, error: Exception) -> JSONResponse:
    """For FastAPI."""
    assert isinstance(error, HeadraceError)
    return response(error)


async def on_invalid_body(_: Request, error: Exception) -> JSONResponse:
    """The first mistake of a body, with the parameter's name; unknown parameters are told as such."""
    assert isinstance(error, RequestValidationError)
    first = next(iter(error.errors()), {"loc": (), "msg": "the body is invalid", "type": "value_error"})
    path = [str(part) for part in first["loc"] if part != "body"]
    param = _parameter(path)
    if first["type"] == "extra_forbidden":
        content = body(
            f"Unsupported parameter: {param!r} is not supported.",
            kind="invalid_request_error", param=param, code="unsupported_parameter",
        )  # fmt: skip
        return JSONResponse(content, 400)
    message = str(first["msg"]).removeprefix("Value error, ")
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    text = f"{param}: {message}" if param else message
    return JSONResponse(body(text, kind="invalid_request_error", param=param, code=code), 400)


async def on_http_error(_: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods, and a missing key."""
    assert isinstance(error, HTTPException)
    code = {401: "invalid_api_key", 404: "not_found", 413: "body_too_large"}.get(error.status_code)
    content = body(str(error.detail), kind="invalid_request_error", code=code)
    return JSONResponse(content, error.status_code, error.headers)


def _parameter(path: list[str]) -> str | None:
    """`messages.0.content`; the names of a union's members, which pydantic puts into the path, are left out."""
    names = [part for part in path if part.isidentifier() is False or part.islower()]
    names = [part for part in names if "[" not in part and part not in {"str", "int"}]
    return ".".join(names) or None
