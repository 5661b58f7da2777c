"""The fields of every kind, as the schemas have them."""

from collections.abc import Iterator

from headrace.kinds.kind import Kind
from headrace.kinds.reference import rows
from headrace.kinds.registry import KINDS

Field = tuple[str, str, str]
"""Kind, path without list indices, variant; '': the field is the same, with one verdict, in all variants of the kind or of its direction."""


def all_fields() -> set[Field]:
    """Of every kind that is installed."""
    return {one for kind in KINDS.values() for one in _of(kind)}


def _of(kind: Kind) -> Iterator[Field]:
    leaves = {variant: _leaves(kind, variant) for variant in kind.variants()}
    shared = set.intersection(*leaves.values())
    for variant, paths in leaves.items():
        for path in paths:
            if path not in shared:
                yield kind.name, path, variant
            elif len({kind.verdict(path, other).text for other in leaves}) == 1:
                yield kind.name, path, ""
            else:
                yield kind.name, path, variant.partition("/")[0]


def _leaves(kind: Kind, variant: str) -> set[str]:
    found = {row.path.partition(" ")[0].replace("[]", "") for row in rows(kind.variant(variant), kind, variant=variant)}
    return {path for path in found if not any(other.startswith(f"{path}.") for other in found)}
