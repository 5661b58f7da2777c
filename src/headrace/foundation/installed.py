"""Installed entry points. Reading those of all packages takes some 30 ms, so it is done once while `sys.path` is unchanged."""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points
from typing import cast


def installed(group: str) -> EntryPoints:
    """The entry points in a group."""
    return _group(group, tuple(sys.path))


@lru_cache
def _group(group: str, path: tuple[str, ...]) -> EntryPoints:
    return _all(path).select(group=group)


@lru_cache
def _all(path: tuple[str, ...]) -> EntryPoints:  # noqa: ARG001 - the key
    return cast("EntryPoints", entry_points())  # Python 3.11 returns another class with the same `select`
