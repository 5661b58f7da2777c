"""A resource: its envelope, its typed spec, and what was written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.foundation.resource_id import ResourceId
from headrace.kinds.document import Plain
from headrace.kinds.spec_model import SpecModel


@dataclass(frozen=True, slots=True)
class Resource:
    """A declared thing whose spec is right. Equal where what was written is equal, wherever it was written."""

    api_version: str
    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: SpecModel = field(compare=False)
    """One of the kinds' spec models; secrets inside as references."""
    raw: Mapping[str, Plain] = field(repr=False)
    """The spec as it was written, literal secrets included: for the state store alone."""
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    base_dir: str = field(default=".", compare=False)
    """Absolute folder that relative paths in it start from."""

    @property
    def id(self) -> ResourceId:
        """The one key."""
        return ResourceId(self.kind, self.namespace, self.name)

    @property
    def folder(self) -> Path:
        return Path(self.base_dir)

    def shown(self) -> dict[str, Any]:
        """The resource as `get -o yaml` prints it: what was written, secrets masked."""
        metadata: dict[str, Any] = {"name": self.name, "namespace": self.namespace}
        if self.labels:
            metadata["labels"] = dict(self.labels)
        if self.annotations:
            metadata["annotations"] = dict(self.annotations)
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": metadata,
            "spec": masked(self.raw, self.spec.model_dump(mode="json", by_alias=True)),
        }


def masked(written: Any, dumped: Any) -> Any:
    """What was written, with the dump's value wherever the dump hides something."""
    if isinstance(written, Mapping) and isinstance(dumped, Mapping):
        return {key: masked(value, dumped.get(key, HIDDEN)) for key, value in written.items()}
    if isinstance(written, list) and isinstance(dumped, list) and len(written) == len(dumped):
        return [masked(one, other) for one, other in zip(written, dumped, strict=True)]
    return HIDDEN if isinstance(dumped, str) and dumped == HIDDEN else written


HIDDEN = "**********"
"""The mask of a literal secret, the same as pydantic's."""
