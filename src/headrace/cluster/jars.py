"""The jars of Kafka and Flink, fetched once with Maven into a cache.

    CACHE/<digest>/           the jars of one part, and `whole.json`: each name with its size in bytes
    CACHE/<digest>.lock       held during a fetch
    CACHE/<digest>.part-…/    a fetch in progress, or a killed one

A folder gets its final name only by a rename at the end, and its list is checked at every start: neither a killed fetch nor a
partly deleted cache passes as complete. The digest covers the versions, so that each version has its own folder.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from headrace.cluster.file_lock import file_lock
from headrace.cluster.java import find_maven
from headrace.foundation.errors import UnavailableError
from headrace.foundation.parent import die_with_parent

Progress = Callable[[str], None]
"""Receives each step, in words for people."""
PATIENCE_SECONDS = 1_800.0
"""Time limit for one part: about 150 MB over a slow connection."""
LIST = "whole.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A Maven dependency."""

    group: str
    name: str
    version: str


KAFKA_VERSION, FLINK_VERSION, CONNECTOR_VERSION, LOG4J_VERSION = "4.3.1", "2.3.0", "5.0.0-2.2", "2.25.4"
_FLINK, _LOG4J = "org.apache.flink", "org.apache.logging.log4j"
ARTIFACTS: Mapping[str, tuple[Artifact, ...]] = {
    "kafka": (
        Artifact("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
        Artifact(_LOG4J, "log4j-slf4j-impl", LOG4J_VERSION),
    ),
    "flink": (
        Artifact(_FLINK, "flink-clients", FLINK_VERSION),
        Artifact(_FLINK, "flink-connector-base", FLINK_VERSION),
        Artifact(_FLINK, "flink-sql-gateway", FLINK_VERSION),
        Artifact(_FLINK, "flink-table-planner-loader", FLINK_VERSION),
        Artifact(_FLINK, "flink-table-runtime", FLINK_VERSION),
        Artifact(_FLINK, "flink-json", FLINK_VERSION),
        Artifact(_FLINK, "flink-sql-connector-kafka", CONNECTOR_VERSION),
        Artifact(_LOG4J, "log4j-slf4j-impl", LOG4J_VERSION),
        Artifact(_LOG4J, "log4j-core", LOG4J_VERSION),
    ),
}
TITLES = {"kafka": f"Kafka {KAFKA_VERSION} (44 MB)", "flink": f"Flink {FLINK_VERSION} (152 MB)"}


def default_cache(environ: Mapping[str, str] | None = None) -> Path:
    """$XDG_CACHE_HOME/headrace/jars, or ~/.cache/headrace/jars."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headrace" / "jars"


def jar_folder(part: str, cache: Path) -> Path:
    """Where a part's jars are, or will be."""
    text = "\n".join(f"{one.group}:{one.name}:{one.version}" for one in ARTIFACTS[part])
    return cache / hashlib.sha256(text.encode()).hexdigest()[:16]


def is_whole(folder: Path) -> bool:
    """Whether every jar in its list exists with the right size."""
    try:
        sizes = json.loads((folder / LIST).read_text("utf-8"))
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def fetch(part: str, cache: Path, progress: Progress = lambda _: None) -> Path:
    """The folder with the jars of `kafka` or `flink`; fetches them if any are missing.

    MissingExtraError: the jars and Maven are both missing. UnavailableError: Maven could not fetch them; contains Maven's output.
    BusyError: another process has been fetching them for half an hour.
    """
    folder = jar_folder(part, cache)
    if is_whole(folder):
        return folder
    maven = find_maven()
    cache.mkdir(parents=True, exist_ok=True)
    lock = cache / f"{folder.name}.lock"
    with file_lock(
        lock,
        patience_seconds=PATIENCE_SECONDS,
        waiting=lambda: progress(f"another process is fetching {TITLES[part]}; waiting for it"),
    ):
        if is_whole(folder):
            return folder
        for left in cache.glob(f"{folder.name}.part-*"):
            shutil.rmtree(left, ignore_errors=True)
        progress(f"fetching {TITLES[part]} with Maven (once)")
        fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=cache))
        _copy_dependencies(maven, part, fresh, progress)
        _seal(fresh)
        if folder.exists():  # some jars were removed
            shutil.rmtree(folder)
        fresh.rename(folder)
    progress(f"fetched {TITLES[part]}")
    return folder


def _seal(folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.jar"))}
    if not sizes:
        raise UnavailableError("Maven succeeded but left no jar", next_step="run the command again")
    (folder / LIST).write_text(json.dumps(sizes, indent=1), "utf-8")
    folder.chmod(0o755)


def _copy_dependencies(maven: Path, part: str, into: Path, progress: Progress) -> None:
    """Runs Maven on its own pom. `progress` receives each jar as it is downloaded."""
    with tempfile.TemporaryDirectory(prefix=f"{into.name}-pom-", dir=into.parent) as folder:
        pom = Path(folder) / "pom.xml"
        pom.write_text(_pom(part), "utf-8")
        command = [
            str(maven), "-B", "-f", str(pom), "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={into}",
        ]  # fmt: skip
        lines: list[str] = []
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one call into libc, loaded before
        ) as process:  # fmt: skip
            assert process.stdout is not None
            watch = Timer(PATIENCE_SECONDS, process.kill)  # a stalled connection
            watch.start()
            try:
                for line in process.stdout:
                    lines.append(line.rstrip())
                    if "Downloaded from" in line and ".jar" in line:
                        progress(f"{part}: {line.split('.jar')[0].rsplit('/', 1)[-1]}.jar")
            except BaseException:
                process.kill()
                raise
            finally:
                watch.cancel()
        if process.returncode != 0:
            with suppress(OSError):
                shutil.rmtree(into)
            said = [line for line in lines if "ERROR" in line][:4] or lines[-4:]
            raise UnavailableError(
                f"Maven could not fetch {TITLES[part]}: {' '.join(said)[:1_000]}",
                next_step="check the network and ~/.m2/settings.xml, then run the command again",
            )


def _pom(part: str) -> str:
    rows = "".join(
        f"<dependency><groupId>{one.group}</groupId><artifactId>{one.name}</artifactId>"
        f"<version>{one.version}</version></dependency>\n"
        for one in ARTIFACTS[part]
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>headrace</groupId><artifactId>{part}</artifactId><version>1</version>\n"
        f"<dependencies>\n{rows}</dependencies></project>\n"
    )
