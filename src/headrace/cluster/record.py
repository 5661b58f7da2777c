"""DIR/cluster.json: the settings of the last `up`, so that later commands need not repeat them."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.cluster.configuration import ClusterPorts, ClusterSize
from headrace.foundation.errors import CorruptDataError

FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """Ports, sizes, and the requested parts (kafka, flink)."""

    ports: ClusterPorts = field(default_factory=ClusterPorts)
    size: ClusterSize = field(default_factory=ClusterSize)
    parts: tuple[str, ...] = ()


def read_record(directory: Path) -> ClusterRecord:
    """The default ports and sizes and no parts if there is no file. CorruptDataError: the file was edited."""
    path = directory / FILE
    try:
        known = json.loads(path.read_text("utf-8"))
        return ClusterRecord(
            ClusterPorts(**_known(ClusterPorts, known["ports"])),
            ClusterSize(**_known(ClusterSize, known["size"])),
            tuple(known["parts"]),
        )
    except FileNotFoundError:
        return ClusterRecord()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptDataError(
            "the file is not a cluster record", where=str(path), next_step="stop its servers and remove the file"
        ) from error


def write_record(directory: Path, record: ClusterRecord) -> None:
    """Written atomically."""
    fresh = directory / f"{FILE}.new"
    fresh.write_text(json.dumps(dataclasses.asdict(record), indent=1), "utf-8")
    fresh.replace(directory / FILE)


def _known(kind: type[Any], values: dict[str, Any]) -> dict[str, int]:
    """The fields that this version knows."""
    names = {one.name for one in dataclasses.fields(kind)}
    return {name: int(value) for name, value in values.items() if name in names}
