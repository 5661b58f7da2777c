"""Names → versions: what the registries in the log said at the last refresh, so that no request waits for the log."""

from collections.abc import Sequence
from pathlib import Path

from headrace.foundation.errors import FinalError, NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.short_names import ShortNames
from headrace.log.topic_log import TopicLog
from headrace.promotion import registry
from headrace.promotion.registry import Registry
from headrace.serving.version_source import ModelCard, VersionRef
from headrace.stages.serve.options import ServedModel
from headrace.stages.train.version_store import version_path

BASE_VERSION = "base"


class LogVersions:
    """`VersionSource` over the registries. Outlives the stage that refreshes it."""

    def __init__(self, models: Sequence[ServedModel], log: TopicLog, state: Path) -> None:
        """Of a finetuner and a BaseModel with one full name, the name means the finetuner."""
        ordered = sorted(models, key=lambda one: (not one.learns, one.id))
        self._models = {one.id: one for one in ordered}
        self._names = ShortNames(self._models, "model")
        self._log, self._state = log, state
        self._registries: dict[ResourceId, Registry] = {}
        self.problems: dict[ResourceId, FinalError] = {}
        """Models whose registry cannot be read; the others are served."""
        self.refresh()

    def refresh(self) -> None:
        """Reads every registry once. RetryableError: the log does not answer, and what was known stands."""
        found: dict[ResourceId, Registry] = {}
        problems: dict[ResourceId, FinalError] = {}
        for one in self._models.values():
            try:
                if one.learns and (entry := registry.load(self._log, one.id)):
                    found[one.id] = entry[0]
            except FinalError as error:
                problems[one.id] = error
                if one.id in self._registries:
                    found[one.id] = self._registries[one.id]
        self._registries, self.problems = found, problems

    def models(self) -> list[ModelCard]:
        return [self._card(one) for one in self._models.values()]

    def resolve(self, model_name: str) -> VersionRef:
        name, _, pinned = model_name.partition("@")
        return self._of_model(self._models[self._names.find(name)], pinned)

    def _card(self, one: ServedModel) -> ModelCard:
        known, name = self._registries.get(one.id), self._names.shown(one.id)
        if known is None:
            return ModelCard(one.id, name, BASE_VERSION, base=one.base_model.name if one.learns else "")
        return ModelCard(one.id, name, known.served, known.version(known.served).created_ms, one.base_model.name)

    def _of_model(self, one: ServedModel, pinned: str) -> VersionRef:
        known = self._registries.get(one.id)
        if known is None:
            return self._without_registry(one, pinned)
        version = pinned or known.served
        path = version_path(self._state, one.id, known, version)
        return VersionRef(one.id, version, path, known.version(version).knowledge)

    def _without_registry(self, one: ServedModel, pinned: str) -> VersionRef:
        if problem := self.problems.get(one.id):
            raise problem
        if pinned not in {"", registry.BASE}:
            raise NotFoundError(
                f"{one.id.full_name} has no version {pinned!r} yet", next_step="ask for the model without a version"
            )
        return VersionRef(one.id, registry.BASE if one.learns else BASE_VERSION, one.base)
