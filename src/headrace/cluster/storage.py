"""Kafka's storage: formatted once, with its SCRAM users written into it."""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from headrace.cluster.files import log4j_file
from headrace.cluster.jars import Progress
from headrace.cluster.java import Java
from headrace.foundation.errors import UnavailableError

_PATIENCE_SECONDS = 60.0


def format_storage(java: Java, jars: Path, directory: Path, progress: Progress) -> None:
    """Formats DIR/kafka/data if needed. An interrupted format starts over: no broker has used the directory yet.

    UnavailableError contains Kafka's output.
    """
    kafka = directory / "kafka"
    done = kafka / "formatted"
    if done.exists():
        return
    progress("formatting Kafka's storage")
    shutil.rmtree(kafka / "data", ignore_errors=True)
    command = [
        str(java.path), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        f"-Dlog4j2.configurationFile={log4j_file(directory)}",
        f"-Dheadrace.log={directory / 'logs' / 'format.log'}",
        "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", "--standalone",
        "--cluster-id", _cluster_id(), "--config", str(kafka / "server.properties"),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    if ended.returncode != 0:
        raise UnavailableError(
            f"Kafka could not format {kafka / 'data'}: {(ended.stdout + ended.stderr).strip()[-1_000:]}",
            next_step="check the disk's free space and permissions",
        )
    done.touch()


def add_scram_users(address: str, users: Mapping[str, str]) -> None:
    """Writes the users for both SCRAMs through the broker's plain listener; resets existing users' passwords."""
    from confluent_kafka.admin import (
        AdminClient,
        ScramCredentialInfo,  # pyright: ignore[reportPrivateImportUsage] - public according to the package's docs only
        ScramMechanism,  # pyright: ignore[reportPrivateImportUsage]
        UserScramCredentialAlteration,  # pyright: ignore[reportPrivateImportUsage]
        UserScramCredentialUpsertion,  # pyright: ignore[reportPrivateImportUsage]
    )

    if not users:
        return
    client = AdminClient({"bootstrap.servers": address})
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):  # a request may name a user once
        wanted: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(name, ScramCredentialInfo(mechanism, 4_096), word.encode())
            for name, word in users.items()
        ]
        for outcome in client.alter_user_scram_credentials(wanted, request_timeout=_PATIENCE_SECONDS).values():
            outcome.result(_PATIENCE_SECONDS)


def _cluster_id() -> str:
    """22 characters of base64; one that begins with `-` would be parsed as an option."""
    while True:
        found = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not found.startswith("-"):
            return found
