"""The versions that a replica has loaded or is loading; drops the least recently used first."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from headrace.models.renderer import open_renderer
from headrace.serving.engines import engine_for
from headrace.serving.generation import GenerationRequest
from headrace.serving.version_batch import VersionBatch


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version ready to generate."""

    engine: str
    batch: VersionBatch


@dataclass(slots=True)
class ShelfVersion:
    """A version loaded or loading, and the requests waiting for it."""

    path: str
    loading: Future[LoadedVersion]
    waiting: list[GenerationRequest] = field(default_factory=list[GenerationRequest])
    announce: bool = False
    """Whether the gateway wants to know when it is loaded."""

    @property
    def loaded(self) -> LoadedVersion | None:
        """None while it loads, or if it cannot be loaded."""
        return self.loading.result() if self.loading.done() and self.loading.exception() is None else None

    @property
    def load(self) -> int:
        """Requests that it is handling or that wait for it."""
        return len(self.waiting) + (len(self.loaded.batch) if self.loaded else 0)


def load_version(path: Path, engine: str | None = None) -> LoadedVersion:
    """Loads weights and tokenizer; raises what the engine or the renderer raises."""
    chosen = engine_for(path, engine)
    return LoadedVersion(chosen.name, VersionBatch(chosen.load(path), open_renderer(path)))


class VersionShelf:
    """Loads in its own thread, so that running answers continue; calls `wake` there when a load has ended."""

    def __init__(self, wake: Callable[[], None], *, max_versions: int = 3, engine: str | None = None) -> None:
        self._wake = wake
        self._max_versions = max_versions
        self._engine = engine
        self._versions: OrderedDict[str, ShelfVersion] = OrderedDict()
        self._loader = ThreadPoolExecutor(1, "version-loader")

    def __iter__(self) -> Iterator[ShelfVersion]:
        return iter(list(self._versions.values()))

    def get(self, path: str) -> ShelfVersion:
        """The version, loaded or loading; makes room by dropping versions without requests."""
        if path not in self._versions:
            self._make_room()
            loading = self._loader.submit(load_version, Path(path), self._engine)
            self._versions[path] = ShelfVersion(path, loading)
            loading.add_done_callback(lambda _: self._wake())
        self._versions.move_to_end(path)
        return self._versions[path]

    def drop(self, path: str) -> None:
        """Forgets a failed version; it is loaded again when requested."""
        self._versions.pop(path, None)

    def close(self) -> None:
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _make_room(self) -> None:
        for version in self:
            if len(self._versions) < self._max_versions:
                return
            if version.loading.done() and not version.load and not version.announce:
                del self._versions[version.path]
