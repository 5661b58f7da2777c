"""The SQL gateway, REST v4: statements of a session, run one behind the other.

Flink 2.3 documentation, "SQL Gateway / REST Endpoint"; the forms were tried on a running gateway.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import HeadraceError, NotFoundError, UnavailableError
from headrace.streams.flink.errors import FlinkAnswerError, causes, root_cause
from headrace.streams.flink.rest import Rest

STATEMENT_SECONDS = 120.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


class SessionLostError(UnavailableError):
    """The gateway has dropped the session: it expired, or the gateway restarted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave."""

    rows: tuple[tuple[Any, ...], ...]
    job_id: str | None
    """Of the job that it started."""


class Session:
    """One session; its temporary tables go with it, jobs that it started stay."""

    def __init__(self, rest: Rest, handle: str, clock: Clock) -> None:
        self._rest, self._path, self._clock = rest, f"/v4/sessions/{handle}", clock

    def run(self, statement: str, seconds: float = STATEMENT_SECONDS) -> Answer:
        """Runs one to its end. FlinkAnswerError: refused, its `trace` says why; SessionLostError; UnavailableError: not over in time."""
        with self._telling_loss():
            started = self._rest.post(f"{self._path}/statements", {"statement": statement})
            return self._fetch(f"{self._path}/operations/{started['operationHandle']}", seconds)

    def heartbeat(self) -> None:
        """Keeps the session. SessionLostError: too late."""
        with self._telling_loss():
            self._rest.post(f"{self._path}/heartbeat", {})

    def close(self) -> None:
        """Gives the session back; one that is gone is no error, and one that cannot be reached ends by itself."""
        try:
            self._rest.ask("DELETE", self._path)
        except HeadraceError:
            return

    @contextmanager
    def _telling_loss(self) -> Generator[None]:
        try:
            yield
        except FlinkAnswerError as error:
            if _session_lost(error):
                raise SessionLostError(f"{self._rest.name}: {root_cause(error.trace)}", where=self._rest.url) from error
            raise
        except NotFoundError as error:
            raise SessionLostError(error.message, where=self._rest.url) from error

    def _fetch(self, operation: str, seconds: float) -> Answer:
        """All pages of an operation. A failed one answers with its trace."""
        deadline, pause = self._clock.monotonic() + seconds, _FIRST_PAUSE
        rows: list[tuple[Any, ...]] = []
        job_id: str | None = None
        path: str | None = f"{operation}/result/0?rowFormat=JSON"
        while path is not None:
            page = self._rest.get(path)
            if page["resultType"] == "NOT_READY":
                if self._clock.monotonic() >= deadline:
                    self._rest.ask("DELETE", f"{operation}/close")
                    raise UnavailableError(
                        f"{self._rest.name} did not finish a statement within {seconds:.0f} s", where=self._rest.url
                    )
                self._clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            job_id = page.get("jobID") or job_id
            rows += [tuple(row["fields"]) for row in (page.get("results") or {}).get("data", [])]
            path = page.get("nextResultUri") if page["resultType"] != "EOS" else None
        return Answer(tuple(rows), job_id)


class SqlGateway:
    """The gateway's sessions."""

    def __init__(self, rest: Rest, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rest, self._clock = rest, clock

    @contextmanager
    def session(self, properties: Mapping[str, str]) -> Generator[Session]:
        """A session with these settings, closed behind its use: none is idle for so long that it expires between two jobs."""
        handle = str(self._rest.post("/v4/sessions", {"properties": dict(properties)})["sessionHandle"])
        session = Session(self._rest, handle, self._clock)
        try:
            yield session
        finally:
            session.close()


def _session_lost(error: FlinkAnswerError) -> bool:
    return any("Session '" in one.message and "does not exist" in one.message for one in causes(error.trace))
