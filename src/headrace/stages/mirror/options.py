"""One finetuner's mirror."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """Whose curves and versions are mirrored for people."""

    namespace: str
    finetuner: str
