"""Flink's SQL Gateway by its REST interface, version 4: sessions, statements, their results."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import UnavailableError
from headrace.streams.flink.errors import FlinkAnswerError, root_cause

STATEMENT_SECONDS = 120.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 0.2


class SqlGateway:
    """One address. Each `run_all` has a session of its own, so that one which expired is never met."""

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        self.address = address.rstrip("/")
        self._client = httpx.Client(base_url=self.address, headers=dict(headers), trust_env=False, timeout=60)

    def run_all(self, properties: Mapping[str, str], statements: Sequence[str]) -> list[list[Any]]:
        """Runs them in one session; the rows of the last. FlinkAnswerError: what the gateway says, with its trace."""
        session = self._post("/v4/sessions", {"properties": dict(properties)})["sessionHandle"]
        try:
            rows: list[list[Any]] = []
            for statement in statements:
                rows = self._run(session, statement)
            return rows
        finally:
            self._close(session)

    def _run(self, session: str, statement: str) -> list[list[Any]]:
        operation = self._post(f"/v4/sessions/{session}/statements", {"statement": statement})["operationHandle"]
        place = f"/v4/sessions/{session}/operations/{operation}/result/0?rowFormat=JSON"
        deadline, pause = SYSTEM_CLOCK.monotonic() + STATEMENT_SECONDS, _FIRST_PAUSE_SECONDS
        rows: list[list[Any]] = []
        while True:
            page = self._request("GET", place)
            if page["resultType"] == "NOT_READY":
                if SYSTEM_CLOCK.monotonic() > deadline:
                    raise UnavailableError(
                        f"the SQL gateway did not finish a statement within {STATEMENT_SECONDS:.0f} s",
                        where=self.address,
                    )
                SYSTEM_CLOCK.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            rows += [row["fields"] for row in (page.get("results") or {}).get("data", [])]
            if page["resultType"] == "EOS" or not page.get("nextResultUri"):
                return rows
            place = page["nextResultUri"]

    def _close(self, session: str) -> None:
        try:
            self._client.delete(f"/v4/sessions/{session}")
        except httpx.TransportError:
            return  # it expires by itself

    def _post(self, place: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._request("POST", place, body)

    def _request(self, method: str, place: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._client.request(method, place, json=body)
        except httpx.TransportError as error:
            raise UnavailableError(
                f"Flink's SQL gateway cannot be reached: {error}",
                where=self.address,
                next_step="see that it runs (`headrace cluster up` starts one), or correct the setting flink",
            ) from error
        if answer.is_success:
            return answer.json()
        trace = _trace(answer)
        raise FlinkAnswerError(root_cause(trace) or answer.text[:200], status=answer.status_code, trace=trace)


def _trace(answer: httpx.Response) -> str:
    """The stack trace of a failed answer: the longest of its errors."""
    try:
        errors = answer.json().get("errors", [])
    except ValueError:
        return answer.text
    return max((str(one) for one in errors), key=len, default="")
