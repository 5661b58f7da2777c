"""Installed entry points. Scanning all packages takes milliseconds, so results are cached while `sys.path` is unchanged."""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points


def installed(group: str) -> EntryPoints:
    """The entry points in a group."""
    return _installed(group, tuple(sys.path))


@lru_cache
def _installed(group: str, path: tuple[str, ...]) -> EntryPoints:  # noqa: ARG001 - part of the key
    return entry_points(group=group)
