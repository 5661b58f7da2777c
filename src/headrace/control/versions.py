"""Versions on disk: finding, listing and exporting them."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace.foundation.errors import InvalidDeclarationError, NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog
from headrace.promotion import registry
from headrace.stages.train.version_store import version_path


def list_versions(log: TopicLog, namespace: str | None = None) -> list[dict[str, Any]]:
    """Every version of every finetuner of a namespace, oldest first, with its aliases; None: of all namespaces.

    `cutOffset` is the last example that the version had learned, as an offset of `examples`; -1: none.
    """
    rows: list[dict[str, Any]] = []
    for finetuner in registry.registered(log):
        if namespace not in (None, finetuner.namespace):
            continue
        found = registry.load(log, finetuner)
        if found is None:
            continue
        known = found[0]
        for version in known.versions:
            alias = "served" if version.name == known.served else "previous" if version.name == known.previous else ""
            rows.append(
                {
                    "namespace": finetuner.namespace, "model": finetuner.name, "version": version.name, "alias": alias,
                    "parent": version.parent, "cutOffset": version.cut_offset, "weightsSha256": version.weights_sha256[:12],
                    "knowledge": version.knowledge,
                    "created": datetime.fromtimestamp(version.created_ms / 1000, UTC).isoformat(timespec="seconds"),
                }
            )  # fmt: skip
    return rows


def export_version(log: TopicLog, state: Path, finetuner: ResourceId, wanted: str, target: Path) -> str:
    """Copies a version's directory, which is a complete checkpoint; returns the version's name. `wanted`: '' means the served one."""
    found = registry.load(log, finetuner)
    if found is None:
        raise NotFoundError(
            f"there is no finetuner {finetuner.name!r} with versions",
            next_step="Run `headrace models list` to see which exist.",
        )
    known = found[0]
    version = known.version(wanted or known.served)
    if target.exists():
        raise InvalidDeclarationError(f"{target} already exists", next_step="Pass a folder that does not exist.")
    shutil.copytree(version_path(state, finetuner, known, version.name), target)
    return version.name
