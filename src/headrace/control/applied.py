"""Notices resources that are applied while the roles run."""

from headrace.control.resource_store import ResourceStore
from headrace.foundation.settings import Settings
from headrace.kinds.topology import topology
from headrace.stages.topology import Topology


class Applied:
    """Compares the store with its state at the last look."""

    def __init__(self, store: ResourceStore, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._seen = store.versions()

    def look(self) -> Topology | None:
        """The topology applied now, if it changed since the last look."""
        versions = self._store.versions()
        if versions == self._seen:
            return None
        self._seen = versions
        return topology(self._store.all(), self._settings)
