"""Flink's JobManager by its REST interface: jobs, checkpoints, savepoints, slots."""

from collections.abc import Mapping
from typing import Any

import httpx

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import UnavailableError
from headrace.streams.flink.errors import FlinkAnswerError, root_cause
from headrace.streams.stream_job import JobState, JobStatus

STOP_SECONDS = 120.0
_POLL_SECONDS = 0.1
_STATES: dict[str, JobState] = {
    "INITIALIZING": "starting", "CREATED": "starting", "RUNNING": "running", "RESTARTING": "restarting", "FAILING": "restarting",
    "RECONCILING": "restarting", "SUSPENDED": "restarting", "FINISHED": "finished", "FAILED": "failed", "CANCELED": "cancelled",
    "CANCELLING": "cancelled",
}  # fmt: skip
ENDED: frozenset[JobState] = frozenset({"finished", "failed", "cancelled"})


class JobManager:
    """One address."""

    def __init__(self, address: str, headers: Mapping[str, str], clock: Clock = SYSTEM_CLOCK) -> None:
        self.address, self._clock = address.rstrip("/"), clock
        self._client = httpx.Client(base_url=self.address, headers=dict(headers), trust_env=False, timeout=30)

    def find(self, name: str) -> str | None:
        """The newest job of that name that is not at its end."""
        jobs = self._get("/jobs/overview")["jobs"]
        alive = [one for one in jobs if one["name"] == name and _STATES.get(one["state"], "starting") not in ENDED]
        return max(alive, key=lambda one: one["start-time"])["jid"] if alive else None

    def status(self, job_id: str) -> JobStatus | None:
        """None: it knows no such job."""
        job = self._get_or_none(f"/jobs/{job_id}")
        if job is None:
            return None
        state = _STATES.get(job["state"], "starting")
        if state == "running" and any(one["status"] not in ("RUNNING", "FINISHED") for one in job["vertices"]):
            state = "starting"
        checkpoints = self._get_or_none(f"/jobs/{job_id}/checkpoints") or {}
        counts = checkpoints.get("counts") or {}
        newest = _newest(checkpoints)
        age = None if newest is None else max(0, self._clock.now_ms() - newest["latest_ack_timestamp"])
        return JobStatus(
            job_id,
            state,
            restarts=int(counts.get("restored", 0)),
            checkpoint_age_ms=age,
            checkpoints=int(counts.get("completed", 0)),
            failed_checkpoints=int(counts.get("failed", 0)),
            back_pressure=self._back_pressure(job) if state == "running" else 0.0,
            message="" if state == "running" else self._last_failure(job_id),
            checkpoint="" if newest is None else newest.get("external_path") or "",
        )

    def free_slots(self) -> tuple[int, int]:
        """Free ones, and all."""
        overview = self._get("/overview")
        return overview["slots-available"], overview["slots-total"]

    def task_managers(self) -> list[dict[str, Any]]:
        """As the JobManager lists them."""
        return self._get("/taskmanagers")["taskmanagers"]

    def stop(self, job_id: str, directory: str | None) -> str:
        """Stops a job with a savepoint; its place once the job has finished."""
        body: dict[str, Any] = {"drain": False, "formatType": "CANONICAL"}
        if directory:
            body["targetDirectory"] = directory
        request = self._request("POST", f"/jobs/{job_id}/stop", body)["request-id"]
        deadline = self._clock.monotonic() + STOP_SECONDS
        place = ""
        while self._clock.monotonic() < deadline:
            if not place:
                found = self._get(f"/jobs/{job_id}/savepoints/{request}")
                operation = found.get("operation") or {}
                if cause := operation.get("failure-cause"):
                    raise UnavailableError(
                        f"the job could not be stopped with a savepoint: {root_cause(cause.get('stack-trace', '')) or cause.get('class')}",
                        where=self.address,
                    )
                place = operation.get("location") or "" if found["status"]["id"] == "COMPLETED" else ""
            elif (status := self.status(job_id)) is None or status.state in ENDED:
                return place
            self._clock.sleep(_POLL_SECONDS)
        raise UnavailableError(f"the job {job_id} did not stop within {STOP_SECONDS:.0f} s", where=self.address)

    def cancel(self, job_id: str) -> None:
        """One that is gone already is no error."""
        try:
            self._request("PATCH", f"/jobs/{job_id}?mode=cancel")
        except FlinkAnswerError as error:
            if error.status not in (404, 409):
                raise

    def _back_pressure(self, job: Mapping[str, Any]) -> float:
        """Of the task that waits most: its share of time, from what was summed up since it started."""
        shares = [0.0]
        for vertex in job["vertices"]:
            metrics = vertex.get("metrics") or {}
            parts = [metrics.get(f"accumulated-{kind}-time") for kind in ("backpressured", "idle", "busy")]
            numbers = [float(one) if isinstance(one, int | float) and one == one else 0.0 for one in parts]  # noqa: PLR0124 - NaN
            if sum(numbers):
                shares.append(numbers[0] / sum(numbers))
        return max(shares)

    def _last_failure(self, job_id: str) -> str:
        found = self._get_or_none(f"/jobs/{job_id}/exceptions?maxExceptions=1") or {}
        entries = (found.get("exceptionHistory") or {}).get("entries") or []
        return root_cause(entries[0].get("stacktrace", "")) if entries else ""

    def _get(self, place: str) -> dict[str, Any]:
        return self._request("GET", place)

    def _get_or_none(self, place: str) -> dict[str, Any] | None:
        try:
            return self._get(place)
        except FlinkAnswerError as error:
            if error.status == 404:  # noqa: PLR2004 - not found
                return None
            raise

    def _request(self, method: str, place: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._client.request(method, place, json=body)
        except httpx.TransportError as error:
            raise UnavailableError(
                f"Flink's JobManager cannot be reached: {error}",
                where=self.address,
                next_step="see that it runs (`headrace cluster up` starts one), or correct the setting flink_jobmanager",
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else {}
        trace = "\n".join(str(one) for one in _errors(answer))
        raise FlinkAnswerError(root_cause(trace) or answer.text[:200], status=answer.status_code, trace=trace)


def _newest(checkpoints: Mapping[str, Any]) -> dict[str, Any] | None:
    """The newest completed checkpoint; before the first, the one that the job was restored from does not count."""
    return (checkpoints.get("latest") or {}).get("completed")


def _errors(answer: httpx.Response) -> list[Any]:
    try:
        return answer.json().get("errors", [])
    except ValueError:
        return [answer.text]
