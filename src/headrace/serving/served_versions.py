"""Hot swap: a name keeps answering with the version it has until the new one is loaded everywhere, then changes in one step."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headrace.foundation.errors import FinalError, HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.serving.version_source import VersionRef, VersionSource, pinned_version

Prepare = Callable[[VersionRef], Awaitable[None]]
_Key = tuple[ResourceId, str]
"""A model and the version that is pinned; '': its alias. All names of a model share one entry, so they change together."""


@dataclass(frozen=True, slots=True)
class _Active:
    """What a key is answered with now, and a name that the source resolves it by."""

    name: str
    version: VersionRef


class ServedVersions:
    """Which version each model is answered with now. Belongs to one event loop."""

    def __init__(self, source: VersionSource, prepare: Prepare, *, poll_seconds: float = 0.1) -> None:
        self._source = source
        self._prepare = prepare
        self._poll_seconds = poll_seconds
        self._active: dict[_Key, _Active] = {}
        self._swapping: dict[_Key, asyncio.Task[None]] = {}
        self._refused: dict[VersionRef, HeadraceError] = {}
        """Versions that could not be loaded; immutable, so not tried again for a swap."""
        self.swaps_of: Counter[ResourceId] = Counter()
        self.failed_swaps_of: Counter[ResourceId] = Counter()

    @property
    def swaps(self) -> int:
        """Versions of all models that took over."""
        return self.swaps_of.total()

    @property
    def failed_swaps(self) -> int:
        """Versions of all models that could not be loaded."""
        return self.failed_swaps_of.total()

    async def pin(self, name: str) -> VersionRef:
        """The version for a request that comes now: one read, so that the whole answer is of one version.

        The first request of a name waits until its version is loaded. NotFoundError for an unknown or ambiguous name; the
        loading error where there is no version to fall back to.
        """
        target = self._source.resolve(name)
        key = target.model, pinned_version(name)
        active = self._active.get(key)
        if active is None:
            await self._load(target)
            return self._active.setdefault(key, _Active(name, target)).version
        if target != active.version:
            self._begin_swap(key, target)
        return self._active[key].version

    async def watch(self) -> None:
        """Follows the aliases until it is cancelled, so that a promotion is loaded before anybody asks."""
        while True:
            self.refresh()
            await asyncio.sleep(self._poll_seconds)

    def refresh(self) -> None:
        """Looks once whether names point elsewhere, and begins the swaps."""
        for key, active in list(self._active.items()):
            try:
                target = self._source.resolve(active.name)
            except HeadraceError:
                continue  # a name that is gone keeps its version until it is asked for: `pin` tells the client
            if target != active.version:
                self._begin_swap(key, target)

    async def close(self) -> None:
        """Gives up the loads that run."""
        for task in self._swapping.values():
            task.cancel()
        await asyncio.gather(*self._swapping.values(), return_exceptions=True)

    def refusal(self, version: VersionRef) -> HeadraceError | None:
        """Why a version could not be loaded."""
        return self._refused.get(version)

    def _begin_swap(self, key: _Key, target: VersionRef) -> None:
        """One swap of a model at a time: the next begins when it has ended, with what the alias points to then."""
        if target in self._refused or key in self._swapping:
            return
        task = asyncio.create_task(self._swap(key, target), name=f"swap-{target.model}-{target.version}")
        self._swapping[key] = task
        task.add_done_callback(lambda _: self._swapping.pop(key, None))

    async def _swap(self, key: _Key, target: VersionRef) -> None:
        try:
            await self._prepare(target)
        except HeadraceError as error:
            self.failed_swaps_of[target.model] += 1
            if isinstance(error, FinalError):
                self._refused[target] = error
        else:
            self._active[key] = _Active(self._active[key].name, target)
            self.swaps_of[target.model] += 1

    async def _load(self, target: VersionRef) -> None:
        if (error := self._refused.get(target)) is not None:
            raise error
        await self._prepare(target)
