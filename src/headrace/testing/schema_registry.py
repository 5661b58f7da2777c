"""A real schema registry for tests: Apicurio's, which speaks Confluent's interface, with its schemas in memory.

    from headrace.testing.schema_registry import schema_registry  # noqa: F401 - in a conftest.py

It is fetched once by Maven into the cache of the cluster's jars (142 MB), runs on the Java that Kafka runs on, answers after 3 s and
takes 220 MB of memory.
"""

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Generator
from functools import cache
from pathlib import Path

import httpx
import pytest

from headrace.cluster.file_lock import file_lock
from headrace.cluster.jars import PATIENCE_SECONDS, default_cache
from headrace.cluster.java import find_java, find_maven
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import MissingExtraError, UnavailableError
from headrace.foundation.parent import die_with_parent
from headrace.testing.cluster import temporary_folder
from headrace.testing.ports import free_ports
from headrace.testing.servers import require_marker, skip_or_fail

VERSION = "2.6.13.Final"
"""The newest on Maven Central that Java 17 runs: 3.3 needs Java 21."""
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_START_SECONDS = 90.0
_POLL_SECONDS = 0.1


def fetch(cache_folder: Path | None = None) -> Path:
    """The folder with the registry's program. MissingExtraError: there is no Maven. UnavailableError: it could not get it."""
    root = cache_folder or default_cache()
    folder = root / f"apicurio-registry-{VERSION}"
    if folder.is_dir():
        return folder
    maven = find_maven()
    root.mkdir(parents=True, exist_ok=True)
    lock = root / f"{folder.name}.lock"
    with file_lock(lock, patience_seconds=PATIENCE_SECONDS, waiting=lambda: None):
        if folder.is_dir():
            return folder
        for left in root.glob(f"{folder.name}.part-*"):  # of a fetch that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=root))
        try:
            _copy(maven, fresh)
            with tarfile.open(next(fresh.glob("*.tar.gz"))) as archive:
                archive.extractall(fresh / "program", filter="data")
            (fresh / "program").rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _copy(maven: Path, into: Path) -> None:
    command = [str(maven), "-B", "-q", _COPY, f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={into}"]
    done = subprocess.run(
        command, cwd=into, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )  # fmt: skip
    if done.returncode or not list(into.glob("*.tar.gz")):
        said = " ".join(line for line in done.stdout.splitlines() if "ERROR" in line)[:500]
        raise UnavailableError(
            f"Maven could not fetch the schema registry: {said or done.stderr[-500:]}",
            next_step="check the network and ~/.m2/settings.xml",
        )


@cache
def why_absent() -> str | None:
    """The reason for which no registry can be started here; None: one can, and its program is here."""
    try:
        find_java()
        fetch()
    except (MissingExtraError, UnavailableError) as error:
        return str(error)
    return None


def skip_where_absent() -> None:
    """Skips the test with the reason; with CI=true, where nothing may go untested, it fails."""
    require_marker("a schema registry")
    skip_or_fail(why_absent())


class RegistryServer:
    """A registry with nothing in it."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its interface of Confluent's is."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> None:
        """Returns once it answers. RuntimeError with the server's own words where it does not start."""
        process = self._process = self._spawned()
        deadline = SYSTEM_CLOCK.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None or SYSTEM_CLOCK.monotonic() > deadline:
                self.stop()
                words = self._log.read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"the schema registry did not start: {words}")
            SYSTEM_CLOCK.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Kills it: it has nothing to keep."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def _log(self) -> Path:
        return self._folder / "registry.log"

    def _spawned(self) -> subprocess.Popen[bytes]:
        program = fetch()
        jar = next(program.glob("apicurio-registry-app-*-runner.jar"))
        command = [
            str(find_java().path), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            f"-Dquarkus.http.port={self._port}", "-Dquarkus.http.host=127.0.0.1", "-jar", str(jar),
        ]  # fmt: skip
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, cwd=program, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call into libc, loaded before
            )  # fmt: skip

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def schema_registry() -> Generator[str]:
    """The address of a real registry; the test is skipped with the reason where there can be none."""
    skip_where_absent()
    folder = temporary_folder()
    server = RegistryServer(folder, free_ports(1)[0])
    try:
        server.start()
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
