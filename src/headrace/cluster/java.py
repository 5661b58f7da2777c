"""The local Java and Maven: where they are, and what to do if they are missing."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.foundation.errors import MissingExtraError

LEAST_JAVA = 17
_VERSION = re.compile(r'version "(\d+)(?:\.(\d+))?')
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that can run Kafka and Flink."""

    path: Path
    major: int

    @property
    def home(self) -> Path:
        """The corresponding JAVA_HOME."""
        return self.path.resolve().parent.parent

    @property
    def keytool(self) -> Path:
        return self.home / "bin" / "keytool"


def find_java(environ: Mapping[str, str] | None = None) -> Java:
    """The first new enough Java from JAVA_HOME and PATH. MissingExtraError lists what was found instead."""
    environ = os.environ if environ is None else environ
    seen: list[str] = []
    for origin, path in _candidates(environ):
        if not path.is_file():
            seen.append(f"{origin} has no bin/java")
            continue
        major = _major(path)
        if major is not None and major >= LEAST_JAVA:
            return Java(path, major)
        seen.append(f"{path} is {'of an unknown version' if major is None else f'Java {major}'}")
    if not shutil.which("java", path=environ.get("PATH", "")):
        seen.append("no java is on the PATH")
    raise MissingExtraError(
        f"Kafka and Flink need Java {LEAST_JAVA} or newer: {'; '.join(seen)}",
        next_step=f"install a JDK {LEAST_JAVA} (Debian, Ubuntu: apt install openjdk-{LEAST_JAVA}-jdk-headless; "
        f"macOS: brew install openjdk@{LEAST_JAVA})or set JAVA_HOME to one",
    )


def find_maven(environ: Mapping[str, str] | None = None) -> Path:
    """`mvn` on the PATH, needed only until the jars have been fetched. MissingExtraError if there is none."""
    environ = os.environ if environ is None else environ
    found = shutil.which("mvn", path=environ.get("PATH", ""))
    if found is None:
        raise MissingExtraError(
            "the jars of Kafka and Flink have not been fetched yet, and no mvn is on the PATH",
            next_step="install Maven (Debian, Ubuntu: apt install maven; macOS: brew install maven)",
        )
    return Path(found)


def _candidates(environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    if home := environ.get("JAVA_HOME"):
        found.append((f"JAVA_HOME={home}", Path(home) / "bin" / "java"))
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        found.append(("PATH", Path(on_path)))
    return found


def _major(java: Path) -> int | None:
    """17 from `openjdk version "17.0.15"`, 8 from `java version "1.8.0_402"`; None: no version found."""
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(done.stderr + done.stdout)
    if match is None:
        return None
    first, second = match.groups()
    return int(second) if first == "1" and second else int(first)
