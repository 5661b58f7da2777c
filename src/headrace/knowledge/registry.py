"""Finds an installed store by its technology's name."""

from typing import cast

from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.installed import installed
from headrace.knowledge.store import KnowledgeStore, OpenStore, StoreOptions

GROUP = "headrace.knowledge_stores"


def store_technologies() -> tuple[str, ...]:
    """Names of the installed back ends, sorted."""
    return tuple(sorted(point.name for point in installed(GROUP)))


def open_store(technology: str, options: StoreOptions) -> KnowledgeStore:
    """The store of a knowledge base. InvalidDeclarationError lists the installed technologies."""
    for point in installed(GROUP):
        if point.name == technology:
            return cast("OpenStore", point.load())(options)
    raise InvalidDeclarationError(
        f"no knowledge store {technology!r} is installed",
        where="settings: knowledge",
        next_step=f"use one of: {', '.join(store_technologies())}",
    )
