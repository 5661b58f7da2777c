"""Resolves the names people use for resources: `name`, `namespace/name` or `Kind/namespace/name`."""

from collections.abc import Iterable
from difflib import get_close_matches

from headrace.foundation.errors import NotFoundError
from headrace.foundation.resource_id import ResourceId


class ShortNames:
    """A fixed set of resources and every name that identifies exactly one of them.

    A bare name is valid only if a single namespace has it. If several kinds share a full name, it refers to the first kind.
    """

    def __init__(self, ids: Iterable[ResourceId], what: str) -> None:
        """`what`: the noun for one resource in errors. If two kinds share a full name, the first one gets it."""
        self._what = what
        self._known: dict[str, ResourceId] = {}
        self._ids = list(ids)
        for one in self._ids:
            self._known[str(one)] = one
            self._known.setdefault(one.full_name, one)
        full_names: dict[str, set[str]] = {}
        for one in self._ids:
            full_names.setdefault(one.name, set()).add(one.full_name)
        self._ambiguous = {name: sorted(several) for name, several in full_names.items() if len(several) > 1}
        self._known |= {name: self._known[full] for name, (full, *more) in _sorted(full_names) if not more}

    def find(self, said: str) -> ResourceId:
        """The resource that a name refers to. NotFoundError lists the candidates, or the known names and the nearest one."""
        found = self._known.get(said)
        if found is not None:
            return found
        if candidates := self._ambiguous.get(said):
            raise NotFoundError(
                f"several namespaces have a {self._what} {said!r}: {', '.join(candidates)}",
                next_step="use a full name",
            )
        known = sorted(self.shown(one) for one in self._ids)
        near = get_close_matches(said, known, 1)
        raise NotFoundError(
            f"there is no {self._what} {said!r}",
            next_step=f"use one of: {', '.join(known) or 'none yet'}" + (f"; nearest: {near[0]}" if near else ""),
        )

    def shown(self, one: ResourceId) -> str:
        """The shortest name that identifies the resource."""
        return next(text for text in (one.name, one.full_name, str(one)) if self._known.get(text) == one)


def _sorted(names: dict[str, set[str]]) -> list[tuple[str, list[str]]]:
    return [(name, sorted(several)) for name, several in names.items()]
