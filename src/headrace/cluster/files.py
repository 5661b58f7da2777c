"""The files in a cluster's folder that its servers read at startup."""

import shutil
from pathlib import Path

from headrace.cluster.configuration import (
    ClusterPorts,
    ClusterSize,
    flink_config,
    kafka_properties,
    log4j_properties,
    zookeeper_config,
)
from headrace.cluster.java import Java
from headrace.cluster.security import KafkaSecurity, make_certificate

_KEPT = ("conf", "checkpoints", "savepoints", "ha", "zookeeper")
_PASSING = ("tmp", "work")


def log4j_file(directory: Path) -> Path:
    """The servers' logging configuration."""
    return directory / "log4j2.properties"


def write_files(
    directory: Path, ports: ClusterPorts, size: ClusterSize, security: KafkaSecurity | None, java: Java, *, sweep: bool
) -> None:
    """Writes all of them. `sweep`: Flink is not running, so leftovers in its temporary folders are removed.

    UnavailableError: the certificate could not be created.
    """
    kafka, flink = directory / "kafka", directory / "flink"
    if sweep:
        for name in _PASSING:
            shutil.rmtree(flink / name, ignore_errors=True)
    for folder in (kafka, *(flink / name for name in (*_KEPT, *_PASSING))):
        folder.mkdir(parents=True, exist_ok=True)
    if security is not None and security.with_tls:
        make_certificate(java, kafka)
    (kafka / "server.properties").write_text(kafka_properties(kafka, ports, security), "utf-8")
    (flink / "conf" / "config.yaml").write_text(flink_config(flink, ports, size), "utf-8")
    (flink / "conf" / "zoo.cfg").write_text(zookeeper_config(flink, ports), "utf-8")
    log4j_file(directory).write_text(log4j_properties(), "utf-8")
