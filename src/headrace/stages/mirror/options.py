"""One finetuner's mirror."""

from dataclasses import dataclass

from headrace.foundation.resource_id import ResourceId


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """Whose curves and versions are mirrored for people."""

    id: ResourceId
