"""The kinds that are installed, found by entry point."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint

from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.installed import installed
from headrace.kinds.kind import Kind

GROUP = "headrace.kinds"
_DISPLAYED_FIRST = ("StreamConnector", "MegaModel", "BaseModel", "EmbeddingModel", "KnowledgeBase", "StreamFinetuner")
"""The order in which people meet our own; other kinds follow by name. Nothing depends on it but lists that people read."""


def _place(point: EntryPoint) -> tuple[int, str]:
    known = point.name in _DISPLAYED_FIRST
    return (_DISPLAYED_FIRST.index(point.name) if known else len(_DISPLAYED_FIRST), point.name)


def _installed() -> Mapping[str, Kind]:
    found: dict[str, Kind] = {}
    for point in sorted(installed(GROUP), key=_place):
        kind = point.load()
        if not isinstance(kind, Kind) or kind.name != point.name or kind.name in found:
            raise InvalidDeclarationError(
                f"the entry point {point.name} in {GROUP} ({point.value}) does not point to a kind of that name",
                next_step="Point it to a Kind, once, under the kind's own name.",
            )
        found[kind.name] = kind
    return found


KINDS: Mapping[str, Kind] = _installed()
API_VERSIONS = tuple(sorted({version for kind in KINDS.values() for version in kind.api_versions}))
