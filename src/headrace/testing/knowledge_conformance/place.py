"""Where the conformance suite finds stores."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from typing import ClassVar, cast

import pytest

from headrace.foundation.errors import HeadraceError
from headrace.knowledge.registry import open_store
from headrace.knowledge.store import KnowledgeStore, OpenStore, StoreOptions
from headrace.testing.knowledge_conformance.builders import GENERATION
from headrace.testing.resource_ids import knowledge_base_id

_names = count()


def open_technology(technology: str, options: StoreOptions) -> KnowledgeStore:
    """By the name of an installed entry point, or as `module:function` where it is not installed."""
    if ":" in technology:
        return cast("OpenStore", resolve_name(technology))(options)
    return open_store(technology, options)


@dataclass
class Stores:
    """Opens stores of one technology; all are closed at the end."""

    technology: str
    folder: Path
    url: str
    _opened: list[KnowledgeStore] = field(default_factory=list[KnowledgeStore])

    def options(self, exact_up_to: int = 200_000) -> StoreOptions:
        """Of a knowledge base that is not there yet."""
        return StoreOptions(knowledge_base_id(f"kb{next(_names)}", "ns"), self.folder, self.url, exact_up_to)

    def open(self, options: StoreOptions) -> KnowledgeStore:
        self._opened.append(open_technology(self.technology, options))
        return self._opened[-1]

    def prepared(self, options: StoreOptions | None = None) -> tuple[KnowledgeStore, int]:
        """A store of its own with `GENERATION` active, and the epoch of its writer."""
        store = self.open(options or self.options())
        epoch = store.acquire("writer")
        store.put_generation(epoch, GENERATION)
        return store, epoch

    def only(self) -> tuple[KnowledgeStore, int]:
        """As `prepared`, with all others closed: for the examples of a property."""
        self.close()
        return self.prepared()

    def close(self) -> None:
        opened, self._opened = self._opened, []
        for store in opened:
            with suppress(HeadraceError):
                store.close()


class StorePlace:
    """The fixtures of the suite."""

    technology: ClassVar[str]
    """An entry point's name, or `module:function`."""

    @pytest.fixture
    def url(self) -> str:
        """Of the back end's server; the embedded ones have none."""
        return ""

    @pytest.fixture
    def stores(self, tmp_path: Path, url: str) -> Generator[Stores]:
        stores = Stores(self.technology, tmp_path, url)
        yield stores
        stores.close()

    @pytest.fixture
    def options(self, stores: Stores) -> StoreOptions:
        return stores.options()

    @pytest.fixture
    def store(self, stores: Stores, options: StoreOptions) -> KnowledgeStore:
        return stores.open(options)

    @pytest.fixture
    def epoch(self, store: KnowledgeStore) -> int:
        """The store's writer, with `GENERATION` active."""
        epoch = store.acquire("writer")
        store.put_generation(epoch, GENERATION)
        return epoch
