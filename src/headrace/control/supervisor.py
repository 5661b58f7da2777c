"""The supervisor of one machine: a process per role, restarted with back-off, ended cleanly.

One supervisor per state directory, held by a file lock that the kernel releases when the process dies. Memory limits are
enforced here: a role above its limit is killed and restarted, and its condition says so, as Kubernetes does.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from headrace.control.at_work import was_at_work
from headrace.control.orders import PROGRAM, RoleOrder, send
from headrace.control.role import HEALTH_STAGE
from headrace.control.role_log import RoleLog, role_logs
from headrace.control.stage_thread import HEALTH
from headrace.control.suspects import Suspects
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import BusyError, RetryableError
from headrace.foundation.installed import installed
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog
from headrace.stages.context import EMBEDDED, Backends
from headrace.stages.limits import ResourceLimits
from headrace.stages.serve.options import LOOPBACK, DoorOptions
from headrace.stages.stage import Condition, StageReporter
from headrace.stages.stage_spec import StageSpec

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_AFTER_SECONDS = 60.0
GRACE_SECONDS = 40.0
MEMORY_CHECK_SECONDS = 1.0
LOG_CHECK_SECONDS = 5.0
ROLES = "headrace.roles"
"""Entry points of roles with a program of their own. Started by name, because doors are above this room and never imported here."""


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
                f"another headrace (process {pid}) is running on {state}",
                next_step="Stop it or pass a different --state.",
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
    restarts: int = 0
    """Restarts in a row without a healthy minute in between. Restarts for which a stage is held back count as that stage's failures."""
    due_at: float = 0.0
    last_exit: int | None = None
    reason: str = ""
    reporter: StageReporter | None = field(default=None, repr=False)
    suspects: Suspects = field(default_factory=Suspects)
    given: tuple[StageSpec, ...] = ()
    """What the process should run: the order's stages without those held back."""
    given_at: float = 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def orders(
    specs: Sequence[StageSpec],
    state: Path,
    holder: str,
    backends: Backends = EMBEDDED,
    doors: DoorOptions = LOOPBACK,
) -> Iterator[RoleOrder]:
    """One order per process that the stages name, in their order. Stages of one process have one limit: the largest."""
    programs = {point.name: point.value for point in installed(ROLES)}
    by_process: dict[str, list[StageSpec]] = {}
    for spec in specs:
        by_process.setdefault(spec.process, []).append(spec)
    for process, found in by_process.items():
        program = programs.get(process.partition("/")[0], PROGRAM)
        limits = max((one.limits for one in found), key=lambda one: one.memory_bytes or 0)
        yield RoleOrder(process, tuple(found), state, holder, backends, limits, program, doors)


class Supervisor:
    """Starts, watches and ends the roles of a topology."""

    def __init__(
        self,
        specs: Sequence[StageSpec],
        log: TopicLog,
        state: Path,
        *,
        backends: Backends = EMBEDDED,
        doors: DoorOptions = LOOPBACK,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._log, self._state, self._clock = log, state, clock
        self.holder = f"{os.getpid()}-{clock.now_ms()}"
        self.started_ms = clock.now_ms()
        self._backends, self._doors = backends, doors
        self._lock = StateLock(state)
        self.roles: list[RoleProcess] = []
        self.plan(specs)
        self._memory_checked = self._logs_checked = 0.0

    def plan(self, specs: Sequence[StageSpec]) -> None:
        """Sets what `start` will start."""
        self.roles = [self._role(order) for order in self._orders(specs)]

    def start(self) -> None:
        for role in self.roles:
            self._start(role)

    def _role(self, order: RoleOrder) -> RoleProcess:
        resource = ResourceId("Role", "-", order.process.replace("/", ":"))
        return RoleProcess(order, reporter=StageReporter(self._log, resource, "supervisor", self._clock))

    def _orders(self, specs: Sequence[StageSpec]) -> Iterator[RoleOrder]:
        return orders(specs, self._state, self.holder, self._backends, self._doors)

    def reconcile(self, specs: Sequence[StageSpec]) -> list[str]:
        """Reconciles the processes with new specs; returns what it did.

        Stops those that are gone and starts those that are new. A process whose stages changed gets a new order and keeps the rest
        running if its program listens to orders; otherwise it is restarted.
        """
        wanted = {order.process: order for order in self._orders(specs)}
        known = {role.order.process: role for role in self.roles}
        changed = [name for name, order in wanted.items() if name in known and known[name].order != order]
        told = [name for name in changed if self._tell(known[name], wanted[name])]
        restarted = [name for name in changed if name not in told]
        gone = [name for name in known if name not in wanted]
        self._end([known[name] for name in [*restarted, *gone]])
        kept = [role for name, role in known.items() if name in wanted and name not in restarted]
        fresh = [self._role(order) for name, order in wanted.items() if name in restarted or name not in known]
        self.roles = [*kept, *fresh]
        for role in fresh:
            self._start(role)
        return [
            *(f"{name} ended" for name in gone),
            *(f"{name} changed" for name in told),
            *(f"{name} restarted" for name in restarted),
            *(f"{name} started" for name in wanted if name not in known),
        ]

    @contextlib.contextmanager
    def without(self, names: Collection[str], applied: Callable[[], Sequence[StageSpec]]) -> Generator[None]:
        """Stops the stages of those names within the context; on exit, starts what is then applied.

        Their processes end, however long a step takes, and restart with the rest of their stages.
        """
        specs = [spec for role in self.roles for spec in role.order.specs]
        touched = [role for role in self.roles if any(spec.name in names for spec in role.order.specs)]
        self._end(touched)
        for role in touched:
            role.process, role.due_at = None, 0.0
        self.reconcile([one for one in specs if one.name not in names])
        for role in self.roles:
            if role.process is None:
                self._start(role)
        try:
            yield
        finally:
            self.reconcile(applied())

    def _tell(self, role: RoleProcess, order: RoleOrder) -> bool:
        """Sends a running process its new stages. False: it must be restarted."""
        if order.program != PROGRAM or replace(role.order, specs=order.specs) != order:
            return False
        role.order = order
        if role.process is not None:  # else it is started with the new order when it is due
            self._send(role)
        return True

    def _send(self, role: RoleProcess) -> None:
        """Tells the process what to run."""
        assert role.process is not None
        assert role.process.stdin is not None
        role.given_at = self._clock.monotonic()
        role.given = role.suspects.allowed(role.order.specs, role.given_at)
        try:
            send(role.process.stdin, replace(role.order, specs=role.given))
        except BrokenPipeError:
            role.reason = "exited before it read its order"

    def poll(self) -> list[RoleProcess]:
        """Restarts dead processes that are due; returns the roles that died since the last call."""
        died: list[RoleProcess] = []
        now = self._clock.monotonic()
        for role in self.roles:
            if role.alive:
                self._look_after(role, now)
            elif role.process is not None:
                self._bury(role, now)
                died.append(role)
            elif now >= role.due_at:
                self._start(role)
        if now - self._memory_checked >= MEMORY_CHECK_SECONDS:
            self._memory_checked = now
            self._enforce_memory()
        if now - self._logs_checked >= LOG_CHECK_SECONDS:
            self._logs_checked = now
            for name in role_logs(self._state):
                RoleLog(self._state, name).bound()
        return died

    def _look_after(self, role: RoleProcess, now: float) -> None:
        """For a running process: a held-back stage whose time is over rejoins the others; a healthy minute resets the restart count."""
        if role.suspects.allowed(role.order.specs, now) != role.given:
            self._send(role)
        elif not role.suspects.holds and role.restarts and now - role.given_at > HEALTHY_AFTER_SECONDS:
            role.restarts = 0
            role.suspects.clear()

    def stop(self) -> None:
        """Stops every role and releases the state directory."""
        self._end(self.roles)
        self._lock.release()

    def _end(self, roles: Sequence[RoleProcess]) -> None:
        """Asks the roles to stop, waits, then kills the rest."""
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
            _hang_up(process)

    def _start(self, role: RoleProcess) -> None:
        with RoleLog(self._state, role.order.process).open() as output:
            role.process = subprocess.Popen(
                [sys.executable, "-m", role.order.program],
                stdin=subprocess.PIPE, stdout=output, stderr=output, env=_environment(role.order.limits),
                start_new_session=False,
            )  # fmt: skip
        self._send(role)
        self._report(role, Condition("Running", "True", "Started", f"process {role.process.pid}"))

    def _bury(self, role: RoleProcess, now: float) -> None:
        assert role.process is not None
        role.last_exit = role.process.returncode
        _hang_up(role.process)
        role.process = None
        last = self.last_words(role.order.process)
        reason = role.reason or _exit_reason(role.last_exit)
        role.reason = ""
        held = self._hold_back(role, reason, now)
        role.due_at = now + BACKOFF_SECONDS[0 if held else min(role.restarts, len(BACKOFF_SECONDS) - 1)]
        role.restarts += not held
        self._report(role, Condition("Running", "False", "Restarting", f"{reason}. {last}".strip()))

    def _hold_back(self, role: RoleProcess, reason: str, now: float) -> bool:
        """Holds back stages within whose steps the process died repeatedly, and reports it on their resources. Whether there are any."""
        at_work = [one for one in role.given if was_at_work(self._state, one.name)]
        held = role.suspects.died([one.name for one in at_work], now)
        for spec in at_work:
            if spec.name in held:
                deaths = role.suspects.deaths[spec.name]
                message = (
                    f"its process died {deaths} times in a row within its step ({reason}); "
                    f"retry in {held[spec.name]:g} s; the other stages keep running"
                )
                self._say(
                    StageReporter(self._log, spec.id, f"{spec.kind}{HEALTH_STAGE}", self._clock),
                    Condition(HEALTH, "False", "ProcessDied", message),
                    {"failures": deaths, "exitCode": 1},
                )
        return bool(held)

    def last_words(self, role: str) -> str:
        """The last error line that a role wrote."""
        errors = RoleLog(self._state, role).errors()
        return errors[-1] if errors else ""

    def _report(self, role: RoleProcess, condition: Condition) -> None:
        assert role.reporter is not None
        self._say(role.reporter, condition, {"restarts": role.restarts})

    @staticmethod
    def _say(reporter: StageReporter, condition: Condition, progress: dict[str, int]) -> None:
        try:
            reporter.say(condition, progress=progress, now=True)
        except RetryableError as error:  # a full disk must not end the supervisor; the next report says it again
            sys.stderr.write(f"the status of {reporter.resource} could not be written: {error}\n")

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
                role.reason = f"OOMKilled: used {used >> 20} MiB, the limit is {limit >> 20} MiB"
                role.process.kill()


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    """Closes our end of its pipe; orders that it has not read are lost."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _environment(limits: ResourceLimits) -> dict[str, str]:
    """Numeric libraries get the role's number of threads; one by default."""
    threads = str(max(1, int(limits.cpu))) if limits.cpu else "1"
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, threads), "TOKENIZERS_PARALLELISM": "false"}


def _exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"
