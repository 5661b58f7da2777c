"""The JobManager's REST: jobs, their checkpoints and troubles, savepoints, slots.

Flink 2.3 documentation, "REST API"; the forms were tried on a running cluster.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import InvalidDeclarationError, NotFoundError, UnavailableError
from headrace.streams.flink.errors import FlinkAnswerError, root_cause
from headrace.streams.flink.rest import Rest
from headrace.streams.stream_job import JobState, JobStatus

T = TypeVar("T")
STOP_SECONDS = 600.0
"""A savepoint of much state takes long; Flink's own limit is 10 minutes."""
CANCEL_SECONDS = 60.0
_PAUSE = 0.1
_STATES: Mapping[str, JobState] = {
    "INITIALIZING": "starting", "CREATED": "starting", "RECONCILING": "starting",
    "RUNNING": "running", "RESTARTING": "restarting", "SUSPENDED": "restarting",
    "FINISHED": "finished", "FAILING": "failed", "FAILED": "failed", "CANCELLING": "cancelled", "CANCELED": "cancelled",
}  # fmt: skip
_OVER = frozenset({"FINISHED", "FAILED", "CANCELED"})
_GONE = ("FileNotFoundException", "Cannot find checkpoint or savepoint")
_TASK_RUNS = frozenset({"RUNNING", "FINISHED"})


@dataclass(frozen=True, slots=True)
class Slots:
    """Room for jobs: one slot holds one parallel instance of all of a job's tasks."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class TaskManager:
    """A process that runs tasks. Sizes in bytes."""

    slots: int
    process_bytes: int
    """All of its process."""
    flink_bytes: int
    """The same without the JVM's metaspace and overhead."""
    managed_bytes: int


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job in the overview; `started` in ms since 1970 UTC."""

    job_id: str
    name: str
    state: str
    started: int

    @property
    def over(self) -> bool:
        return self.state in _OVER


class JobManager:
    """One cluster's. Every method: UnavailableError where it does not answer."""

    def __init__(self, rest: Rest, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rest, self._clock, self.address = rest, clock, rest.url

    def jobs(self, name: str) -> list[ListedJob]:
        """The jobs of that name, the newest first."""
        return [one for one in self.all_jobs() if one.name == name]

    def all_jobs(self) -> list[ListedJob]:
        """Every job that it remembers, the newest first."""
        known = {one["jid"]: one for one in self._rest.get("/jobs/overview")["jobs"]}
        found: list[ListedJob] = []
        for job_id, state in self._live_states().items():
            told = known.get(job_id) or self._detail(job_id)  # the overview may be some seconds old
            if told is not None:
                found.append(ListedJob(job_id, told["name"], state, told["start-time"]))
        return sorted(found, key=lambda one: -one.started)

    def _live_states(self) -> Mapping[str, str]:
        return {one["id"]: one["status"] for one in self._rest.get("/jobs")["jobs"]}

    def _live_state(self, job_id: str) -> str | None:
        """As it is now, where a job's details may be some seconds old (`web.refresh-interval`); None: no such job."""
        try:
            return str(self._rest.get(f"/jobs/{job_id}/status")["status"])
        except NotFoundError:
            return None

    def status(self, job_id: str) -> JobStatus | None:
        """None: no such job, or one that is forgotten."""
        live = self._live_state(job_id)
        if live is None:
            return None
        try:
            detail = self._rest.get(f"/jobs/{job_id}")
            checkpoints = self._rest.get(f"/jobs/{job_id}/checkpoints") if detail["vertices"] else {}
            restarts = self._restarts(job_id, detail)
            state = _state(live, detail, restarts)
            trouble = self.trouble(job_id) if restarts or state in {"restarting", "failed"} else ""
            pressure = self._back_pressure(job_id, detail) if state == "running" else 0.0
        except NotFoundError:
            return None
        counts, latest = checkpoints.get("counts") or {}, checkpoints.get("latest") or {}
        completed = latest.get("completed")
        return JobStatus(
            job_id, state, restarts,
            None if completed is None else max(0, detail["now"] - completed["latest_ack_timestamp"]),
            counts.get("completed", 0), counts.get("failed", 0), pressure, trouble,
            _place(completed) or _place(latest.get("restored")),
        )  # fmt: skip

    def trouble(self, job_id: str) -> str:
        """The newest failure's root cause, its first line; empty: there was none."""
        entries = self._rest.get(f"/jobs/{job_id}/exceptions?maxExceptions=1")["exceptionHistory"]["entries"]
        return root_cause(entries[0]["stacktrace"]) or entries[0]["exceptionName"] if entries else ""

    def failure(self, job_id: str) -> str:
        """The newest failure's whole trace."""
        entries = self._rest.get(f"/jobs/{job_id}/exceptions?maxExceptions=1")["exceptionHistory"]["entries"]
        return str(entries[0]["stacktrace"]) if entries else ""

    def _restarts(self, job_id: str, detail: Mapping[str, Any]) -> int:
        """By the attempts of one task: the tasks of a job are connected, so that they restart together."""
        if not detail["vertices"]:
            return 0
        tasks = self._rest.get(f"/jobs/{job_id}/vertices/{detail['vertices'][0]['id']}")["subtasks"]
        return max((task["attempt"] for task in tasks), default=0)

    def _back_pressure(self, job_id: str, detail: Mapping[str, Any]) -> float:
        """The largest share over all tasks. Flink measures it every 10 s."""
        found = 0.0
        for vertex in detail["vertices"]:
            told = self._rest.get(f"/jobs/{job_id}/vertices/{vertex['id']}/backpressure")
            found = max([found, *(_share(task.get("ratio")) for task in told.get("subtasks") or ())])
        return found

    def cancel(self, job_id: str) -> None:
        """Ends it and waits until it has ended; one that is gone is no error."""
        try:
            self._rest.ask("PATCH", f"/jobs/{job_id}?mode=cancel")
        except NotFoundError:
            return
        except FlinkAnswerError as error:
            if error.status != 409:  # it is at its end already
                raise
        self._await_end(job_id, CANCEL_SECONDS)

    def stop(self, job_id: str, directory: str | None) -> str:
        """Stops it with a savepoint and waits for its end; gives the savepoint's place, also of one that was stopped before.

        NotFoundError: no such job; InvalidDeclarationError: no folder for savepoints; UnavailableError: it could not be stopped now.
        """
        if (state := self._live_state(job_id)) is None:
            raise NotFoundError(f"{self._rest.name} knows no job {job_id}", next_step="find it by its name")
        if state == "FINISHED" and (
            place := self._until(lambda: self._last_savepoint(job_id), bool, self.refresh_seconds() + 1)
        ):
            return place
        if state in _OVER:
            raise NotFoundError(f"the job {job_id} has already ended ({state}) and cannot be stopped with a savepoint")
        body: dict[str, object] = {"drain": False, "formatType": "CANONICAL"}
        try:
            request = self._rest.post(
                f"/jobs/{job_id}/stop", body | ({"targetDirectory": directory} if directory else {})
            )
        except FlinkAnswerError as error:
            if "savepoint directory" in str(error):
                raise InvalidDeclarationError(
                    "the cluster has no savepoint directory",
                    next_step="set savepoint_dir, or execution.checkpointing.savepoint-dir on the cluster",
                ) from error
            raise
        place = self._await_savepoint(job_id, request["request-id"])
        if (state := self._await_end(job_id, CANCEL_SECONDS)) not in {"FINISHED", None}:
            raise UnavailableError(f"the job has a savepoint at {place} and did not finish: {state}")
        return place

    def dispose(self, place: str) -> None:
        """Deletes a savepoint, or a checkpoint that was kept. One that is gone is no error; UnavailableError: it could not be deleted now."""
        request = self._rest.post("/savepoint-disposal", {"savepoint-path": place})["request-id"]
        path = f"/savepoint-disposal/{request}"
        told = self._until(lambda: self._rest.get(path), lambda one: one["status"]["id"] == "COMPLETED", STOP_SECONDS)
        if told is None:
            raise UnavailableError(f"{place} was not deleted within {STOP_SECONDS:.0f} s")
        failure = told["operation"].get("failure-cause")
        why = "" if failure is None else failure.get("stack-trace") or failure.get("class", "")
        if why and not any(word in why for word in _GONE):
            raise UnavailableError(f"{place} could not be deleted: {root_cause(why)}")

    def _await_savepoint(self, job_id: str, request: str) -> str:
        path = f"/jobs/{job_id}/savepoints/{request}"
        told = self._until(lambda: self._rest.get(path), lambda one: one["status"]["id"] == "COMPLETED", STOP_SECONDS)
        if told is None:
            raise UnavailableError(f"the savepoint of job {job_id} did not complete within {STOP_SECONDS:.0f} s")
        operation = told["operation"]
        if (failure := operation.get("failure-cause")) is not None:
            why = root_cause(failure.get("stack-trace") or "") or failure.get("class", "")
            raise UnavailableError(
                f"the job {job_id} could not be stopped with a savepoint: {why}",
                next_step="wait until it is running, then retry",
            )
        return str(operation["location"])

    def _await_end(self, job_id: str, seconds: float) -> str | None:
        """The state in which it ended; None: it was forgotten. UnavailableError: it did not end."""
        ended = self._until(lambda: (self._live_state(job_id),), lambda one: one[0] is None or one[0] in _OVER, seconds)
        if ended is None:
            raise UnavailableError(f"the job {job_id} did not end within {seconds:.0f} s")
        return ended[0]

    def _until(self, ask: Callable[[], T], enough: Callable[[T], bool], seconds: float) -> T | None:
        """The first answer that is enough; None: not in time."""
        deadline = self._clock.monotonic() + seconds
        while not enough(told := ask()):
            if self._clock.monotonic() >= deadline:
                return None
            self._clock.sleep(_PAUSE)
        return told

    def _detail(self, job_id: str) -> Mapping[str, Any] | None:
        try:
            return self._rest.get(f"/jobs/{job_id}")
        except NotFoundError:
            return None

    def _last_savepoint(self, job_id: str) -> str:
        latest = self._rest.get(f"/jobs/{job_id}/checkpoints").get("latest") or {}
        return _place(latest.get("savepoint"))

    def placing(self, job_id: str) -> tuple[str, int] | None:
        """The job's state as Flink says it, and how many of its tasks wait for a slot; None: no such job."""
        live = self._live_state(job_id)
        detail = self._detail(job_id) if live == "RUNNING" else {"vertices": ()}
        if live is None or detail is None:
            return None
        waiting = sum(one["tasks"].get("CREATED", 0) + one["tasks"].get("SCHEDULED", 0) for one in detail["vertices"])
        return live, waiting

    def refresh_seconds(self) -> float:
        """How old the details of jobs may be, checkpoints among them (`web.refresh-interval`)."""
        return float(self._rest.get("/config")["refresh-interval"]) / 1000

    def slots(self) -> Slots:
        told = self._rest.get("/overview")
        return Slots(told["slots-total"], told["slots-available"])

    def task_managers(self) -> list[TaskManager]:
        return [
            TaskManager(one["slotsNumber"], sizes["totalProcessMemory"], sizes["totalFlinkMemory"], sizes["managedMemory"])
            for one in self._rest.get("/taskmanagers")["taskmanagers"]
            for sizes in (one["memoryConfiguration"],)
        ]  # fmt: skip

    def configuration(self) -> Mapping[str, str]:
        """What the JobManager was configured with."""
        return {one["key"]: one["value"] for one in self._rest.get("/jobmanager/config")}


def _state(live: str, detail: Mapping[str, Any], restarts: int) -> JobState:
    """RUNNING of Flink's says that the job is looked after; running here, that each of its tasks runs."""
    state = _STATES.get(live, "starting")
    if state == "running" and (
        not detail["vertices"] or any(one["status"] not in _TASK_RUNS for one in detail["vertices"])
    ):
        return "restarting" if restarts else "starting"
    return state


def _share(ratio: object) -> float:
    """A ratio as Flink says it; `NaN` before it has measured."""
    share = float(ratio) if isinstance(ratio, int | float | str) else 0.0
    return min(1.0, share) if share > 0 else 0.0


def _place(checkpoint: Mapping[str, Any] | None) -> str:
    place = str((checkpoint or {}).get("external_path") or "")
    return "" if place.startswith("<") else place
