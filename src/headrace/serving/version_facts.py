"""What the gateway must know about a version to use it: its renderer, its limits, its stop tokens."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from headrace.foundation.errors import CorruptDataError, HeadraceError
from headrace.models.prompt_renderer import PromptRenderer
from headrace.models.renderer import open_renderer
from headrace.serving.checkpoint import read_config, read_end_token_ids

_KEPT = 16


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """Read once per version; no weights."""

    renderer: PromptRenderer
    max_positions: int
    vocabulary_size: int
    stop_ids: tuple[int, ...]


def read_facts(path: Path) -> VersionFacts:
    """CorruptDataError if the directory is not a version that can generate."""
    try:
        renderer, config = open_renderer(path), read_config(path)
        vocabulary = config.values.get("vocab_size")
        return VersionFacts(
            renderer=renderer,
            max_positions=config.max_positions,
            vocabulary_size=vocabulary if isinstance(vocabulary, int) else renderer.vocabulary_size,
            stop_ids=tuple(dict.fromkeys((renderer.end_token_id, *read_end_token_ids(path)))),
        )
    except (HeadraceError, OSError) as error:
        raise CorruptDataError(f"the version cannot be read: {error}", where=str(path)) from error


class FactsShelf:
    """Facts of the most recently used versions; read in a thread, so that a large tokenizer does not block the event loop."""

    def __init__(self) -> None:
        self._facts: OrderedDict[Path, VersionFacts] = OrderedDict()

    async def get(self, path: Path) -> VersionFacts:
        facts = self._facts.get(path)
        if facts is None:
            facts = self._facts[path] = await asyncio.to_thread(read_facts, path)
            while len(self._facts) > _KEPT:
                self._facts.popitem(last=False)
        self._facts.move_to_end(path)
        return facts
