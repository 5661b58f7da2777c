"""One Kafka and one Flink on this machine, in a folder that keeps their data.

DIR/cluster.json                  ports, sizes and parts of the last `up`
DIR/run/NAME.json, DIR/logs/NAME  running processes and their output
DIR/kafka/data, DIR/flink/…       data kept between `down` and `up`
"""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.cluster.configuration import (
    ClusterAddresses,
    ClusterPorts,
    ClusterSize,
    Program,
    addresses,
    programs,
)
from headrace.cluster.file_lock import file_lock
from headrace.cluster.files import log4j_file, write_files
from headrace.cluster.jars import Progress, default_cache, fetch
from headrace.cluster.java import Java, find_java
from headrace.cluster.processes import ServerProcess, stop_all
from headrace.cluster.readiness import probes
from headrace.cluster.record import ClusterRecord, read_record, write_record
from headrace.cluster.security import KafkaSecurity
from headrace.cluster.storage import add_scram_users, format_storage
from headrace.cluster.taken_ports import taken
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import BusyError, InvalidDeclarationError, NotFoundError, UnavailableError

PARTS = ("kafka", "flink")
START_SECONDS = 90.0
"""Start-up timeout; an idle machine needs about ten seconds."""
STOP_SECONDS = 20.0
LOCK_SECONDS = 120.0
_POLL_SECONDS = 0.1
_SOONER = "-XX:TieredStopAtLevel=1"


class LocalCluster:
    """Starts, stops and kills the servers of a folder. Several of these objects may share a folder."""

    def __init__(
        self,
        directory: Path,
        ports: ClusterPorts | None = None,
        *,
        size: ClusterSize | None = None,
        parts: Sequence[str] = PARTS,
        security: KafkaSecurity | None = None,
        die_with_parent: bool = False,
        quick: bool = False,
        cache: Path | None = None,
    ) -> None:
        """`ports` and `size` default to those of the folder's last `up`, or else the usual ones. Starts nothing.

        `quick`: every server starts faster and runs slower. `die_with_parent`: for tests; the servers end with the process that starts them, however it ends (Linux).
        """
        self.directory = directory.resolve()
        known = read_record(self.directory)
        self.ports = ports or known.ports
        self.size = size or known.size
        self.parts = tuple(parts)
        self._security = security
        self._die_with_parent, self._quick = die_with_parent, quick
        self._cache = cache or default_cache()
        self._programs = programs(self.directory, self.size)
        self._probes = probes(self.ports)

    @property
    def names(self) -> tuple[str, ...]:
        """The servers of the requested parts, in start order."""
        return tuple(name for name, program in self._programs.items() if program.part in self.parts)

    @property
    def addresses(self) -> ClusterAddresses:
        return addresses(self.ports)

    def up(self, progress: Progress = lambda _: None) -> None:
        """Starts what is not running and returns once everything answers; running servers are left alone.

        MissingExtraError: no Java, or no Maven for the first fetch. BusyError: ports are in use, or the folder's servers run on
        other ports or in another size. UnavailableError: a server did not start; the error contains the end of its log,
        and the others started by this call are stopped.
        """
        java = find_java()
        folders = {part: fetch(part, self._cache, progress) for part in self.parts}
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with file_lock(self.directory / "lock", patience_seconds=LOCK_SECONDS):
            self._check_running()
            missing = [name for name in self.names if not self.alive(name)]
            if missing:
                self._check_ports(missing)
                self._configure(java)
            missing.sort(key=lambda name: name == "broker")  # the others start while its storage is formatted
            try:
                for name in missing:
                    self._spawn(java, folders[self._programs[name].part], name, progress)
                self._await(self.names, progress)
                if "broker" in missing and self._security is not None:
                    add_scram_users(self.addresses.kafka, self._security.users)
            except BaseException:  # also on interruption: nothing is left half started
                stop_all([self._server(name) for name in missing], patience_seconds=STOP_SECONDS)
                raise

    def start(self, name: str) -> None:
        """Restarts one server and returns once it answers; does nothing if it is running."""
        program = self._program(name)
        if not log4j_file(self.directory).exists():
            raise NotFoundError(f"there is no cluster in {self.directory}", next_step="run `headrace cluster up` first")
        java, folder = find_java(), fetch(program.part, self._cache)
        with file_lock(self.directory / "lock", patience_seconds=LOCK_SECONDS):
            if not self.alive(name):
                self._check_ports([name])
                self._spawn(java, folder, name, lambda _: None)
            self._await([name], lambda _: None)

    def down(self) -> None:
        """Stops every server of the folder, whatever its part; their data stay. Does nothing if none is running."""
        if not self.directory.exists():
            return
        with file_lock(self.directory / "lock", patience_seconds=LOCK_SECONDS):
            # Users before what they use.
            for group in (("gateway", "jobmanager", "taskmanager"), ("broker", "zookeeper")):
                stop_all([self._server(name) for name in group], patience_seconds=STOP_SECONDS)

    def kill(self, name: str) -> None:
        """Kills one server as a crash would (SIGKILL); its data stay as they are."""
        self._program(name)
        server = self._server(name)
        server.send(signal.SIGKILL)
        server.wait_until_gone(STOP_SECONDS)

    def alive(self, name: str) -> bool:
        """Whether its process is alive."""
        self._program(name)
        return self._server(name).process() is not None

    def answers(self, name: str) -> bool:
        """Whether its process is alive and answers its protocol."""
        return self.alive(name) and self._probes[name]()

    def pid(self, name: str) -> int | None:
        """The process id; None if it is not alive."""
        process = self._server(name).process()
        return None if process is None else process.pid

    def memory_bytes(self, name: str | None = None) -> int:
        """Resident memory of one server, or of all live ones."""
        names = self._programs if name is None else [name]
        found = [process for one in names if (process := self._server(one).process()) is not None]
        return sum(process.memory_info().rss for process in found)

    def _program(self, name: str) -> Program:
        if name not in self._programs:
            raise NotFoundError(f"there is no server {name}", next_step=f"use one of: {', '.join(self._programs)}")
        return self._programs[name]

    def _server(self, name: str) -> ServerProcess:
        return ServerProcess(name, self.directory)

    def _log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def _check_running(self) -> None:
        running = [name for name in self._programs if self.alive(name)]
        known = read_record(self.directory)
        if running and (known.ports, known.size) != (self.ports, self.size):
            what = "ports" if known.ports != self.ports else "sizes"
            raise BusyError(
                f"{', '.join(running)} in {self.directory} already run with other {what} than requested",
                next_step="run `headrace cluster down` first, or keep the current ports and sizes",
            )

    def _check_ports(self, missing: Sequence[str]) -> None:
        needed = {
            "zookeeper": (self.ports.zookeeper,),
            "broker": (self.ports.kafka, self.ports.controller, *self._security_ports()),
            "jobmanager": (self.ports.flink_rest, self.ports.jobmanager_rpc),
            "taskmanager": (),
            "gateway": (self.ports.gateway,),
        }
        wanted = [port for name in missing for port in needed[name]]
        if len(set(wanted)) < len(wanted):
            raise InvalidDeclarationError(
                "the same port is given twice", next_step="give each server a port of its own"
            )
        if holders := taken(wanted):
            text = "; ".join(f"{port} by {who}" for port, who in holders.items())
            raise BusyError(f"ports are already in use: {text}", next_step="stop that program or choose other ports")

    def _security_ports(self) -> list[int]:
        return [port for port, _ in self._security.listeners().values()] if self._security else []

    def _configure(self, java: Java) -> None:
        running = {program.part for name, program in self._programs.items() if self.alive(name)}
        write_files(self.directory, self.ports, self.size, self._security, java, sweep="flink" not in running)
        parts = tuple(part for part in PARTS if part in {*self.parts, *running})
        write_record(self.directory, ClusterRecord(self.ports, self.size, parts))

    def _spawn(self, java: Java, jars: Path, name: str, progress: Progress) -> None:
        program = self._program(name)
        if name == "broker":
            format_storage(java, jars, self.directory, progress)
        progress(f"starting {name}")
        command = [
            str(java.path), f"-Xmx{program.heap}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={log4j_file(self.directory)}", f"-Dheadrace.log={self._log(name)}",
            "-Djava.net.preferIPv4Stack=true", *([] if program.carries_data and not self._quick else [_SOONER]), *program.options,
            "-cp", f"{jars}/*", program.main, *program.arguments,
        ]  # fmt: skip
        environ = {**os.environ, "FLINK_CONF_DIR": str(self.directory / "flink" / "conf")}
        self._server(name).spawn(command, environ, die_with_parent=self._die_with_parent)

    def _await(self, names: Sequence[str], progress: Progress) -> None:
        deadline = SYSTEM_CLOCK.monotonic() + START_SECONDS
        left: dict[str, Callable[[], bool]] = {name: self._probes[name] for name in names}
        while left:
            for name in [name for name, answers in left.items() if answers()]:
                progress(f"{name} answers")
                del left[name]
            for name in left:
                if not self.alive(name):
                    raise UnavailableError(
                        f"{name} exited during startup: {self._server(name).last_words(self._log(name))}",
                        next_step=f"read {self._log(name)}",
                    )
            if left and SYSTEM_CLOCK.monotonic() > deadline:
                raise UnavailableError(
                    f"{', '.join(left)} did not answer within {START_SECONDS:.0f} s",
                    next_step=f"read the logs in {self.directory / 'logs'}",
                )
            if left:
                SYSTEM_CLOCK.sleep(_POLL_SECONDS)
