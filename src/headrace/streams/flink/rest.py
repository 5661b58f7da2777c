"""Requests to one of Flink's servers: JSON out and in, and errors that say which server, why and what to do."""

import json
import weakref
from collections.abc import Mapping
from typing import Any

import httpx

from headrace.foundation.errors import InvalidDeclarationError, NotFoundError, UnavailableError
from headrace.streams.flink.errors import FlinkAnswerError, root_cause

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
_UNKNOWN_JOB = "FlinkJobNotFoundException"
_BUSY = frozenset({408, 429, 502, 503, 504})


class LostAnswerError(UnavailableError):
    """A request was sent, and no answer came: what it asked for may have been done."""


class Rest:
    """A server by its URL. Threads may share it."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], setting: str) -> None:
        """`name` as people call the server; `setting` that holds its URL, for the next step."""
        self.name, self.url, self._setting = name, url.rstrip("/"), setting
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InvalidDeclarationError(f"{url!r} is not a URL: {error}", next_step=f"correct {setting}") from error
        if not self.url.startswith(("http://", "https://")):
            raise InvalidDeclarationError(
                f"{url!r} is not a URL", next_step=f"start {setting} with http:// or https://"
            )
        self._client = httpx.Client(
            headers=dict(headers), timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS), trust_env=False
        )
        weakref.finalize(self, self._client.close)  # an engine is dropped, not closed

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The answer's JSON. UnavailableError: no answer (LostAnswerError: perhaps done all the same), or the server is not up yet;
        FlinkAnswerError: it refuses; NotFoundError: it does not know what the path names; InvalidDeclarationError: it wants credentials.
        """
        try:
            response = self._client.request(method, self.url + path, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            raise UnavailableError(
                f"{self.name} at {self.url} is unreachable: {error}",
                next_step=f"start it (`headrace cluster up` starts one here), or correct the setting {self._setting}",
            ) from error
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise LostAnswerError(f"{self.name} at {self.url} gave no answer: {why}") from error
        if response.is_success:
            return self._decoded(response)
        raise self._refusal(response)

    def _decoded(self, response: httpx.Response) -> Any:
        try:
            return response.json() if response.content else {}
        except ValueError as error:
            raise FlinkAnswerError(
                f"the server at {self.url} is not {self.name}: its answer is not JSON",
                status=response.status_code, trace="", next_step=f"correct {self._setting}",
            ) from error  # fmt: skip

    def _refusal(self, response: httpx.Response) -> Exception:
        status, trace = response.status_code, _trace(response)
        why = root_cause(trace) or response.reason_phrase
        if status in {401, 403}:
            return InvalidDeclarationError(
                f"{self.name} at {self.url} refuses the credentials ({status})", next_step="set headers.Authorization"
            )
        if status == 404 or _UNKNOWN_JOB in trace:  # some paths answer 500 for a job that is unknown
            return NotFoundError(f"{self.name}: {why}")
        if status in _BUSY:
            return UnavailableError(f"{self.name} at {self.url} is not ready: {why}")
        return FlinkAnswerError(f"{self.name}: {why}", status=status, trace=trace)


def _trace(response: httpx.Response) -> str:
    """The longest of the answer's `errors`: the others are its headings."""
    try:
        told = json.loads(response.content).get("errors", [])
    except (ValueError, AttributeError):
        return response.text.strip()
    return max((str(one) for one in told), key=len, default="")
