"""A few requests to a SQL gateway and a JobManager: enough to have a job that counts."""

from typing import Any

import httpx

from headrace.cluster import LocalCluster
from headrace.foundation.clock import SYSTEM_CLOCK

PATIENCE_SECONDS = 90.0
CONFLICT = 409
"""What the JobManager says of a job that is at its end."""


class FlinkSql:
    """One session. Every wait has a deadline."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._gateway = f"{cluster.addresses.flink_gateway}/v4"
        self._jobs = cluster.addresses.flink_rest
        self._client = httpx.Client(trust_env=False, timeout=30)
        self._session = (
            self._client.post(f"{self._gateway}/sessions", json={}).raise_for_status().json()["sessionHandle"]
        )

    def run(self, statement: str) -> list[list[Any]]:
        """Its rows; for an INSERT the one with the job's id."""
        base = f"{self._gateway}/sessions/{self._session}"
        handle = self._client.post(f"{base}/statements", json={"statement": statement}).raise_for_status().json()
        url = f"{base}/operations/{handle['operationHandle']}/result/0?rowFormat=JSON"
        rows: list[list[Any]] = []
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self._client.get(url)
            assert answer.is_success, answer.text[-2_000:]
            page = answer.json()
            if page["resultType"] == "NOT_READY":
                assert SYSTEM_CLOCK.monotonic() < deadline, statement
                SYSTEM_CLOCK.sleep(0.1)
                continue
            rows += [row["fields"] for row in page.get("results", {}).get("data", [])]
            if page["resultType"] == "EOS" or not page.get("nextResultUri"):
                return rows
            url = self._gateway.removesuffix("/v4") + page["nextResultUri"]

    def checkpoints(self, job: str) -> dict[str, Any] | None:
        """What the JobManager says of them; None while it does not answer or does not know the job."""
        try:
            answer = self._client.get(f"{self._jobs}/jobs/{job}/checkpoints")
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None

    def state(self, job: str) -> str | None:
        """RUNNING where the job and each of its tasks run, else the job's own state; None while nobody knows it."""
        try:
            answer = self._client.get(f"{self._jobs}/jobs/{job}")
        except httpx.TransportError:
            return None
        if not answer.is_success:
            return None
        found = answer.json()
        tasks = {vertex["status"] for vertex in found["vertices"]}
        return found["state"] if found["state"] != "RUNNING" or tasks == {"RUNNING"} else f"tasks {sorted(tasks)}"

    def wait_until_running(self, job: str) -> None:
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while (state := self.state(job)) != "RUNNING":
            assert SYSTEM_CLOCK.monotonic() < deadline, state
            SYSTEM_CLOCK.sleep(0.1)

    def wait_for_checkpoint(self, job: str, *, after: int = 0) -> dict[str, Any]:
        """The overview once a checkpoint with a number above `after` is complete."""
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while True:
            found = self.checkpoints(job)
            latest = ((found or {}).get("latest") or {}).get("completed")
            if found and latest and latest["id"] > after:
                return found
            assert SYSTEM_CLOCK.monotonic() < deadline, found
            SYSTEM_CLOCK.sleep(0.1)

    def latest_checkpoint(self, job: str) -> int:
        """The number of the newest complete one."""
        found = self.checkpoints(job)
        assert found is not None, "the JobManager does not answer"
        return int(found["latest"]["completed"]["id"])

    def cancel(self, job: str) -> None:
        """Ends it; one that is at its end already is no error."""
        answer = self._client.patch(f"{self._jobs}/jobs/{job}?mode=cancel")
        if answer.status_code != CONFLICT:
            answer.raise_for_status()

    def close(self) -> None:
        self._client.close()
