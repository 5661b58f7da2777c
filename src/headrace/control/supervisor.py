"""The supervisor of one machine: a process per role, restarted with back-off, ended cleanly.

One supervisor per state directory, held by a file lock that the kernel lets go of when the process dies. Memory limits are
enforced here: a role above its limit is killed and restarted, and its condition says so, as Kubernetes does.
"""

import fcntl
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import psutil

from headrace.control.role import EMBEDDED, Backends, RoleOrder
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import BusyError, RetryableError
from headrace.log.topic_log import TopicLog
from headrace.stages.limits import ResourceLimits
from headrace.stages.serve.options import ServeOptions
from headrace.stages.stage import Condition, StageReporter
from headrace.stages.topology import Topology

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_AFTER_SECONDS = 60.0
GRACE_SECONDS = 40.0
MEMORY_CHECK_SECONDS = 1.0
SERVE_MODULE = "headrace.doors.serve_role"
EMBED_MODULE = "headrace.doors.embed_role"
"""Started by name: a door stands above this room, and is never imported here."""


class StateLock:
    """The right to supervise a state directory."""

    def __init__(self, state: Path) -> None:
        """BusyError names the process that holds it."""
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = (state / "supervisor.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            pid = self._file.read().strip() or "unknown"
            self._file.close()
            raise BusyError(
                f"another headrace (process {pid}) runs on {state}",
                next_step="stop it, or use another directory with --state",
            ) from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


@dataclass(slots=True)
class RoleProcess:
    """One role and the process that runs it now."""

    order: RoleOrder
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0
    """In a row, without a healthy minute between."""
    due_at: float = 0.0
    last_exit: int | None = None
    reason: str = ""
    reporter: StageReporter | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def orders(topology: Topology, state: Path, holder: str, backends: Backends = EMBEDDED) -> Iterator[RoleOrder]:
    """One order per role; every finetuner's trainer is a process of its own, so that its limits are its own."""
    base = RoleOrder("", Topology(), state, holder, backends)
    if topology.ingest or topology.sinks:
        yield replace(base, role="ingest", topology=Topology(ingest=topology.ingest, sinks=topology.sinks))
    for model in topology.embed:
        for index in range(0 if model.url else model.replicas):
            role = f"embed/{model.namespace}.{model.name}/{index}"
            yield replace(base, role=role, topology=Topology(embed=(model,)), limits=model.limits, module=EMBED_MODULE)
    if topology.index:
        yield replace(base, role="index", topology=Topology(index=topology.index))
    if topology.transform:
        yield replace(base, role="transform", topology=Topology(ingest=topology.ingest, transform=topology.transform))
    if topology.prompt or topology.label:
        yield replace(base, role="label", topology=Topology(prompt=topology.prompt, label=topology.label))
    for one in topology.train:
        yield replace(
            base, role=f"train/{one.namespace}.{one.finetuner}", topology=Topology(train=(one,)), limits=one.limits
        )
    if topology.mirror:
        yield replace(base, role="mirror", topology=Topology(mirror=topology.mirror))
    serve = topology.serve
    if serve != ServeOptions(host=serve.host, port=serve.port, answers=serve.answers):
        yield replace(base, role="serve", topology=Topology(serve=topology.serve), module=SERVE_MODULE)


class Supervisor:
    """Starts, watches and ends the roles of a topology."""

    def __init__(
        self,
        topology: Topology,
        log: TopicLog,
        state: Path,
        *,
        backends: Backends = EMBEDDED,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._log, self._state, self._clock = log, state, clock
        self.holder = f"{os.getpid()}-{clock.now_ms()}"
        self.started_ms = clock.now_ms()
        self._backends = backends
        self._lock = StateLock(state)
        self.roles = [self._role(order) for order in orders(topology, state, self.holder, backends)]
        (state / "logs").mkdir(exist_ok=True)
        self._memory_checked = 0.0

    def start(self) -> None:
        for role in self.roles:
            self._start(role)

    def _role(self, order: RoleOrder) -> RoleProcess:
        resource = f"Role/-/{order.role.replace('/', ':')}"
        return RoleProcess(order, reporter=StageReporter(self._log, resource, "supervisor", self._clock))

    def reconcile(self, topology: Topology) -> list[str]:
        """Makes the roles those of another topology: ends what is gone or changed, starts what is new or changed; says what it did."""
        wanted = {order.role: order for order in orders(topology, self._state, self.holder, self._backends)}
        known = {role.order.role: role for role in self.roles}
        changed = [name for name, order in wanted.items() if name in known and known[name].order != order]
        gone = [name for name in known if name not in wanted]
        self._end([known[name] for name in [*changed, *gone]])
        kept = [role for name, role in known.items() if name in wanted and name not in changed]
        fresh = [self._role(order) for name, order in wanted.items() if name in changed or name not in known]
        self.roles = [*kept, *fresh]
        for role in fresh:
            self._start(role)
        new = [name for name in wanted if name not in known]
        return [
            *(f"{name} ended" for name in gone),
            *(f"{name} restarted" for name in changed),
            *(f"{name} started" for name in new),
        ]

    def poll(self) -> list[RoleProcess]:
        """Restarts what has died and is due; returns the roles that died since the last call."""
        died: list[RoleProcess] = []
        now = self._clock.monotonic()
        for role in self.roles:
            if role.alive:
                if role.restarts and now - role.started_at > HEALTHY_AFTER_SECONDS:
                    role.restarts = 0
            elif role.process is not None:
                self._bury(role, now)
                died.append(role)
            elif now >= role.due_at:
                self._start(role)
        if now - self._memory_checked >= MEMORY_CHECK_SECONDS:
            self._memory_checked = now
            self._enforce_memory()
        return died

    def stop(self) -> None:
        """Ends every role and gives the state directory up."""
        self._end(self.roles)
        self._lock.release()

    def _end(self, roles: Sequence[RoleProcess]) -> None:
        """Asks the roles to end, waits, then kills what is left."""
        running = [role.process for role in roles if role.process and role.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = self._clock.monotonic() + GRACE_SECONDS
        for process in running:
            try:
                process.wait(timeout=max(0.1, deadline - self._clock.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log_path(self, role: str) -> Path:
        return self._state / "logs" / f"{role.replace('/', '.')}.log"

    def _start(self, role: RoleProcess) -> None:
        output: IO[bytes]
        with self.log_path(role.order.role).open("ab") as output:
            role.process = subprocess.Popen(
                [sys.executable, "-m", role.order.module],
                stdin=subprocess.PIPE, stdout=output, stderr=output, env=_environment(role.order.limits),
                start_new_session=False,
            )  # fmt: skip
        role.started_at = self._clock.monotonic()
        assert role.process.stdin is not None
        try:
            with role.process.stdin as pipe:
                pickle.dump(role.order, pipe)
        except BrokenPipeError:
            role.reason = "ended before it read its order"
        self._report(role, Condition("Running", "True", "Started", f"process {role.process.pid}"))

    def _bury(self, role: RoleProcess, now: float) -> None:
        assert role.process is not None
        role.last_exit = role.process.returncode
        role.process = None
        role.due_at = now + BACKOFF_SECONDS[min(role.restarts, len(BACKOFF_SECONDS) - 1)]
        role.restarts += 1
        last = self.last_words(role.order.role)
        reason = role.reason or _exit_reason(role.last_exit)
        role.reason = ""
        self._report(role, Condition("Running", "False", "Restarting", f"{reason}. {last}".strip()))

    def last_words(self, role: str) -> str:
        """The last error line that a role wrote."""
        path = self.log_path(role)
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else ""

    def _report(self, role: RoleProcess, condition: Condition) -> None:
        assert role.reporter is not None
        try:
            role.reporter.say(condition, progress={"restarts": role.restarts}, now=True)
        except RetryableError as error:  # a full disk must not end the supervisor; the next report says it again
            sys.stderr.write(f"the status of {role.order.role} could not be written: {error}\n")

    def _enforce_memory(self) -> None:
        for role in self.roles:
            limit = role.order.limits.memory_bytes
            if limit is None or not role.alive or role.process is None:
                continue
            try:
                used = psutil.Process(role.process.pid).memory_info().rss
            except psutil.NoSuchProcess:
                continue
            if used > limit:
                role.reason = f"OOMKilled: it used {used >> 20} MiB, its limit is {limit >> 20} MiB"
                role.process.kill()


def _environment(limits: ResourceLimits) -> dict[str, str]:
    """Numeric libraries get the role's number of threads; one, where nothing is said."""
    threads = str(max(1, int(limits.cpu))) if limits.cpu else "1"
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, threads), "TOKENIZERS_PARALLELISM": "false"}


def _exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
