"""Hot swap: a name keeps answering with the version it has until the new one is loaded everywhere, then changes in one step."""

import asyncio
from collections.abc import Awaitable, Callable

from headrace.foundation.errors import FinalError, HeadraceError
from headrace.serving.version_source import VersionRef, VersionSource

Prepare = Callable[[VersionRef], Awaitable[None]]


class ServedVersions:
    """Which version each name is answered with now. Belongs to one event loop."""

    def __init__(self, source: VersionSource, prepare: Prepare, *, poll_seconds: float = 0.1) -> None:
        self._source = source
        self._prepare = prepare
        self._poll_seconds = poll_seconds
        self._active: dict[str, VersionRef] = {}
        self._swapping: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[VersionRef, HeadraceError] = {}
        """Versions that could not be loaded; immutable, so not tried again for a swap."""
        self.swaps = 0
        self.failed_swaps = 0

    async def pin(self, name: str) -> VersionRef:
        """The version for a request that comes now: one read, so that the whole answer is of one version.

        The first request of a name waits until its version is loaded. NotFoundError for an unknown name; the loading
        error where there is no version to fall back to.
        """
        target = self._source.resolve(name)
        active = self._active.get(name)
        if active is None:
            await self._load(target)
            return self._active.setdefault(name, target)
        if target != active:
            self._begin_swap(name, target)
        return self._active[name]

    async def watch(self) -> None:
        """Follows the aliases for ever, so that a promotion is loaded before anybody asks."""
        while True:
            self.refresh()
            await asyncio.sleep(self._poll_seconds)

    def refresh(self) -> None:
        """Looks once whether names point elsewhere, and begins the swaps."""
        for name, active in list(self._active.items()):
            try:
                target = self._source.resolve(name)
            except HeadraceError:
                continue  # a name that is gone goes on until it is asked for: `pin` tells the client
            if target != active:
                self._begin_swap(name, target)

    async def close(self) -> None:
        """Gives up the loads that run."""
        for task in self._swapping.values():
            task.cancel()
        await asyncio.gather(*self._swapping.values(), return_exceptions=True)

    def refusal(self, version: VersionRef) -> HeadraceError | None:
        """Why a version could not be loaded."""
        return self._refused.get(version)

    def _begin_swap(self, name: str, target: VersionRef) -> None:
        """One swap of a name at a time: the next begins when it has ended, with what the alias points to then."""
        if target in self._refused or name in self._swapping:
            return
        task = asyncio.create_task(self._swap(name, target), name=f"swap-{name}-{target.version}")
        self._swapping[name] = task
        task.add_done_callback(lambda _: self._swapping.pop(name, None))

    async def _swap(self, name: str, target: VersionRef) -> None:
        try:
            await self._prepare(target)
        except HeadraceError as error:
            self.failed_swaps += 1
            if isinstance(error, FinalError):
                self._refused[target] = error
        else:
            self._active[name] = target
            self.swaps += 1

    async def _load(self, target: VersionRef) -> None:
        if (error := self._refused.get(target)) is not None:
            raise error
        await self._prepare(target)
