"""Embedders by model: the one that is declared, and those that older generations were made with."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.foundation.errors import NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.short_names import ShortNames
from headrace.models.embedder import Embedder
from headrace.stages.embed.options import EmbedOptions


def embedders_folder(state: Path) -> Path:
    """Where exported models lie, one folder each."""
    return state / "embedders"


def open_embedder(options: EmbedOptions, state: Path) -> Embedder:
    """The declared model, answered by its own processes on this machine or by a service elsewhere. UnavailableError while none answers."""
    from headrace.models.http_embedder import connect_local, connect_remote

    if options.url:
        return connect_remote(options.url, options.api_key, options.remote_model, dimension=options.dimension)
    assert options.folder is not None
    return connect_local(state, options.id, options.folder)


class Embedders:
    """Opens each model once, when it is first needed."""

    def __init__(self, options: EmbedOptions, state: Path, current: Embedder | None = None) -> None:
        """`current`: handed in by tests; else connected as the options say."""
        self._options, self._state = options, state
        self._current = current
        self._older: dict[str, Embedder] = {}

    @property
    def current(self) -> Embedder:
        """The declared model. UnavailableError while its processes start."""
        if self._current is None:
            self._current = open_embedder(self._options, self._state)
        return self._current

    def of(self, fingerprint: str) -> Embedder:
        """The model of a generation. NotFoundError where it is no longer on this machine."""
        if fingerprint == self.current.fingerprint:
            return self.current
        if fingerprint not in self._older:
            self._older[fingerprint] = self._exported(fingerprint)
        return self._older[fingerprint]

    def close(self) -> None:
        for one in [*self._older.values(), *([self._current] if self._current else [])]:
            one.close()
        self._older, self._current = {}, None

    def _exported(self, fingerprint: str) -> Embedder:
        from headrace.models.onnx import open_embedder as open_exported

        for note in sorted(embedders_folder(self._state).glob("*/prepared.json")):
            if msgspec.json.decode(note.read_bytes(), type=dict[str, object]).get("fingerprint") == fingerprint:
                return open_exported(note.parent, threads=1)
        raise NotFoundError(
            f"the embedding model {fingerprint} is no longer on this machine",
            next_step="declare it again, or drop the generation built with it",
        )


class EmbeddingModels:
    """Every declared model, for the door that embeds for others."""

    def __init__(self, options: Sequence[EmbedOptions], state: Path) -> None:
        self._models = {one.id: Embedders(one, state) for one in options}
        self._names = ShortNames(self._models, "embedding model")

    def names(self) -> dict[str, ResourceId]:
        """The shortest name of each model."""
        return {self._names.shown(one): one for one in sorted(self._models)}

    def find(self, name: str) -> Embedder:
        """NotFoundError lists the candidates of an ambiguous name, or the nearest; UnavailableError while its processes start."""
        return self._models[self._names.find(name)].current

    def close(self) -> None:
        for one in self._models.values():
            one.close()
