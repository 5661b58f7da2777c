"""Hot swap: a name keeps its current version until the new one is loaded everywhere, then switches in one step."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headrace.foundation.errors import FinalError, HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.serving.version_source import VersionRef, VersionSource, pinned_version

Prepare = Callable[[VersionRef], Awaitable[None]]
_Key = tuple[ResourceId, str]
"""A model and its pinned version; '': its alias. All names of a model share one entry, so they switch together."""


@dataclass(frozen=True, slots=True)
class _Active:
    """The version in use for a key, and a name by which the source resolves it."""

    name: str
    version: VersionRef


class ServedVersions:
    """Which version each model currently uses. Belongs to one event loop."""

    def __init__(self, source: VersionSource, prepare: Prepare, *, poll_seconds: float = 0.1) -> None:
        self._source = source
        self._prepare = prepare
        self._poll_seconds = poll_seconds
        self._active: dict[_Key, _Active] = {}
        self._swapping: dict[_Key, asyncio.Task[None]] = {}
        self._refused: dict[VersionRef, HeadraceError] = {}
        """Versions that could not be loaded; immutable, so a swap does not retry them."""
        self.swaps_of: Counter[ResourceId] = Counter()
        self.failed_swaps_of: Counter[ResourceId] = Counter()

    @property
    def swaps(self) -> int:
        """How many swaps have completed, over all models."""
        return self.swaps_of.total()

    @property
    def failed_swaps(self) -> int:
        """How many versions could not be loaded, over all models."""
        return self.failed_swaps_of.total()

    async def pin(self, name: str) -> VersionRef:
        """The version for a new request: one read, so that the whole answer uses one version.

        The first request of a name waits until its version is loaded. NotFoundError for an unknown or ambiguous name; the
        loading error if there is no version to fall back to.
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
        """Follows the aliases until cancelled, so that a promoted version is loaded before it is requested."""
        while True:
            self.refresh()
            await asyncio.sleep(self._poll_seconds)

    def refresh(self) -> None:
        """Checks once whether names refer to other versions, and starts the swaps."""
        for key, active in list(self._active.items()):
            try:
                target = self._source.resolve(active.name)
            except HeadraceError:
                continue  # a removed name keeps its version until it is requested: `pin` reports it to the client
            if target != active.version:
                self._begin_swap(key, target)

    async def close(self) -> None:
        """Cancels running loads."""
        for task in self._swapping.values():
            task.cancel()
        await asyncio.gather(*self._swapping.values(), return_exceptions=True)

    def refusal(self, version: VersionRef) -> HeadraceError | None:
        """Why a version could not be loaded."""
        return self._refused.get(version)

    def _begin_swap(self, key: _Key, target: VersionRef) -> None:
        """One swap of a model at a time: the next starts when it has ended, with the alias's current target."""
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
