"""A knowledge store in plain Python, by the definitions alone: lists, loops, nothing remembered between two questions.

As slow and as obvious as can be: the conformance suite compares the real back ends with it, on the exact path.
"""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from threading import RLock

import numpy as np

from headrace.foundation.errors import FencedError, InvalidDeclarationError, NotFoundError
from headrace.knowledge.filters import matches
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, ChangedDocument, Counts, Hit, StoreQuery, Timeline, Vector
from headrace.knowledge.ranking import DEPTH, K1, RANK_CONSTANT, B
from headrace.knowledge.revision import CANARY, FOREVER, SINCE_EVER, Chunk, DocumentChange
from headrace.knowledge.store import ApplyReport, Backfill, StoreBatch, StoredDocument, StoreOptions


@dataclass
class _Version:
    """A version that was applied; its key is its place among all of them."""

    key: int
    change: DocumentChange
    purged: bool = False
    """No longer found, but its start still ends what came before it."""


@dataclass(frozen=True)
class _Cut:
    """A chunk of a version in a generation."""

    version: _Version
    chunk: Chunk


@dataclass
class _State:
    """Everything that a transaction may change."""

    epoch: int = 0
    versions: list[_Version] = field(default_factory=list[_Version])
    cuts: dict[str, list[_Cut]] = field(default_factory=dict[str, list[_Cut]])
    """By generation, in the order in which they came in."""
    done: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Generations and versions that were cut for them, chunks or none."""
    generations: list[Generation] = field(default_factory=list[Generation])
    vectors: dict[tuple[str, str], Vector] = field(default_factory=dict[tuple[str, str], Vector])
    """By model and hash."""
    offsets: dict[str, int] = field(default_factory=dict[str, int])
    values: dict[str, bytes] = field(default_factory=dict[str, bytes])


class OracleStore:
    """A KnowledgeStore in memory; it is gone when it is closed."""

    def __init__(self, options: StoreOptions | None = None) -> None:
        """`options` is taken so that it opens as every store does; nothing in it matters here."""
        self.options = options
        self._lock = RLock()
        self.held = _State()

    # -- the one writer

    def clear(self, epoch: int) -> None:
        with self._turn(epoch):
            self.held = _State(epoch=self.held.epoch)

    def acquire(self, holder: str) -> int:  # noqa: ARG002 - the port's signature
        with self._lock:
            self.held.epoch += 1
            return self.held.epoch

    def offset(self, topic: str) -> int:
        return self.held.offsets.get(topic, 0)

    def state(self, key: str) -> bytes | None:
        return self.held.values.get(key)

    def missing_vectors(self, model: str, hashes: Sequence[str]) -> list[str]:
        return [one for one in dict.fromkeys(hashes) if (model, one) not in self.held.vectors]

    def keep_vectors(self, epoch: int, model: str, vectors: Mapping[str, Vector]) -> None:
        with self._turn(epoch):
            self._keep(model, vectors)

    def apply(self, epoch: int, batch: StoreBatch) -> ApplyReport:
        with self._turn(epoch):
            for model, vectors in batch.vectors.items():
                self._keep(model, vectors)
            applied = chunks = 0
            for revision in () if self._consumed(batch) else batch.revisions:
                orders = [one.change.order.encode() for one in self._of(revision.change.document)]
                if orders and revision.change.order.encode() <= max(orders):
                    continue
                version = _Version(len(self.held.versions), revision.change)
                self.held.versions.append(version)
                applied += 1
                for generation, cut in revision.chunks.items():
                    self._cut(generation, version, cut)
                    chunks += len(cut)
            for topic, (_, after) in batch.offsets.items():
                self.held.offsets[topic] = max(after, self.offset(topic))
            for key, value in batch.state.items():
                self.held.values.pop(key, None)
                if value is not None:
                    self.held.values[key] = value
            return ApplyReport(applied, len(batch.revisions) - applied, chunks)

    def put_generation(self, epoch: int, generation: Generation) -> None:
        with self._turn(epoch):
            others = self.held.generations
            if generation.state == "active":
                others = [
                    replace(one, state="kept", retired_ms=generation.activated_ms) if one.state == "active" else one
                    for one in others
                ]
            ids = [one.id for one in others]
            if generation.id in ids:
                others = [generation if one.id == generation.id else one for one in others]
            else:
                others = [*others, generation]
            self.held.generations = others
            self.held.cuts.setdefault(generation.id, [])

    def generations(self) -> list[Generation]:
        return sorted(self.held.generations, key=lambda one: one.created_ms)

    def drop_generation(self, epoch: int, generation: str) -> None:
        with self._turn(epoch):
            dropped = self._generation(generation)
            self.held.generations = [one for one in self.held.generations if one.id != generation]
            cuts = self.held.cuts.pop(generation)
            self.held.done = {one for one in self.held.done if one[0] != generation}
            self._forget({(dropped.model, one.chunk.hash) for one in cuts})

    def not_in_generation(self, generation: str, limit: int) -> list[StoredDocument]:
        self._generation(generation)
        missing = [
            self._stored(one)
            for one in self.held.versions
            if not one.purged
            and not one.change.deleted
            and not one.change.document.startswith(CANARY)
            and (generation, one.key) not in self.held.done
        ]
        return missing[:limit]

    def backfill(self, epoch: int, generation: str, parts: Sequence[Backfill], vectors: Mapping[str, Vector]) -> None:
        with self._turn(epoch):
            self._keep(self._generation(generation).model, vectors)
            for part in parts:
                if (generation, part.key) not in self.held.done and not self.held.versions[part.key].purged:
                    self._cut(generation, self.held.versions[part.key], part.chunks)

    def purge(self, epoch: int, before_ms: int) -> int:
        with self._turn(epoch):
            over = [
                one for one in self.held.versions if not one.purged and self._interval(one, "arrival")[1] < before_ms
            ]
            for one in over:
                one.purged = True
            for generation, cuts in self.held.cuts.items():
                gone = {(self._generation(generation).model, one.chunk.hash) for one in cuts if one.version.purged}
                self.held.cuts[generation] = [one for one in cuts if not one.version.purged]
                self._forget(gone)
            return len(over)

    # -- the readers

    def search(self, query: StoreQuery) -> list[Hit]:
        with self._lock:
            generation = self._generation(query.generation)
            if query.mode != "keyword":
                _check(query.vector, generation)
            visible = self._searched(query)
            passing = {key for key, one in visible.items() if matches(query.where, one.version.change.metadata)}
            depth = max(DEPTH, query.limit) if query.mode == "hybrid" else query.limit
            vector, keyword = dict[int, float](), dict[int, float]()
            if query.mode != "keyword":
                vector = _best(self._cosines(query, generation, visible), passing, depth)
            if query.mode != "vector":
                keyword = _best(_bm25(query.terms, visible), passing, depth)
            scores = {"vector": vector, "keyword": keyword}.get(query.mode)
            if scores is None:
                scores = _best(_fused(vector, keyword), passing, query.limit)
            return [self._hit(visible[key], key, scores, vector, keyword) for key in scores]

    def counts(self, generation: str, as_of: AsOf) -> Counts:
        self._generation(generation)
        seen = [one for one in self._visible(as_of) if not one.change.document.startswith(CANARY)]
        documents = [one.key for one in seen if not one.change.deleted]
        chunks = [one for one in self.held.cuts[generation] if one.version.key in documents]
        return Counts(len(documents), len(chunks), len(seen) - len(documents))

    def document(self, document: str, as_of: AsOf) -> StoredDocument | None:
        for one in self._visible(as_of):
            if one.change.document == document and not one.change.deleted:
                return self._stored(one)
        return None

    def changed(self, after: AsOf, upto_ms: int) -> list[ChangedDocument]:
        """Those that changed at one moment go by their ids."""
        last: dict[str, ChangedDocument] = {}
        for one in self.held.versions:
            start, end = self._interval(one, after.timeline)
            change = one.change
            if one.purged or change.document.startswith(CANARY) or not after.at_ms < start <= upto_ms or start == end:
                continue
            if change.document not in last or last[change.document].at_ms < start:
                last[change.document] = ChangedDocument(change.document, change.version, change.deleted, start)
        return sorted(last.values(), key=lambda one: (one.at_ms, one.document))

    def close(self) -> None:
        self.held = _State()

    # -- the definitions

    def _of(self, document: str) -> list[_Version]:
        """A document's versions in order."""
        return [one for one in self.held.versions if one.change.document == document]

    def _interval(self, version: _Version, timeline: Timeline) -> tuple[int, int]:
        """From its start until a newer version starts; empty where a newer one had started by then."""
        versions = self._of(version.change.document)
        starts = [_start(one.change, timeline, first=place == 0) for place, one in enumerate(versions)]
        place = versions.index(version)
        end = min([FOREVER, *starts[place + 1 :]])
        return starts[place], max(starts[place], end)

    def _visible(self, as_of: AsOf) -> list[_Version]:
        """Of each document the newest version of those that have started; deletions among them."""
        newest: dict[str, _Version] = {}
        for name in dict.fromkeys(one.change.document for one in self.held.versions):
            for place, one in enumerate(self._of(name)):
                if _start(one.change, as_of.timeline, first=place == 0) <= as_of.at_ms:
                    newest[name] = one
        return [one for one in newest.values() if not one.purged]

    def _searched(self, query: StoreQuery) -> dict[int, _Cut]:
        """The visible chunks by key, before the filter."""
        seen = [one.key for one in self._visible(query.as_of) if one.change.document.startswith(CANARY) == query.canary]
        cuts = self.held.cuts[query.generation]
        return {key: one for key, one in enumerate(cuts) if one.version.key in seen}

    def _cosines(self, query: StoreQuery, generation: Generation, visible: Mapping[int, _Cut]) -> dict[int, float]:
        assert query.vector is not None
        asked = query.vector.astype(np.float64)
        vectors = {key: self.held.vectors[generation.model, one.chunk.hash] for key, one in visible.items()}
        return {key: float(one.astype(np.float64) @ asked) for key, one in vectors.items()}

    def _hit(
        self, cut: _Cut, key: int, scores: Mapping[int, float], vector: dict[int, float], keyword: dict[int, float]
    ) -> Hit:
        change, chunk = cut.version.change, cut.chunk
        return Hit(
            change.document, change.version, chunk.index, chunk.text, scores[key], chunk.headings, change.title,
            dict(change.metadata), _rank(vector, key), vector.get(key), _rank(keyword, key), keyword.get(key),
            change.visible_from,
        )  # fmt: skip

    def _stored(self, version: _Version) -> StoredDocument:
        change = version.change
        return StoredDocument(
            version.key, change.document, change.version, change.title, change.text, change.media, dict(change.metadata),
            change.deleted, *self._interval(version, "arrival"), *self._interval(version, "event"),
        )  # fmt: skip

    # -- what is written

    @contextmanager
    def _turn(self, epoch: int) -> Generator[None]:
        """One transaction: what it changed is put back where it fails."""
        with self._lock:
            if epoch != self.held.epoch:
                raise FencedError(f"epoch {epoch} is over: {self.held.epoch} writes", next_step="end this process")
            before = deepcopy(self.held)
            try:
                yield
            except BaseException:
                self.held = before
                raise

    def _generation(self, generation: str) -> Generation:
        for one in self.held.generations:
            if one.id == generation:
                return one
        raise NotFoundError(f"there is no generation {generation!r}", next_step="use one of generations()")

    def _consumed(self, batch: StoreBatch) -> bool:
        """Everything that the batch read was read before."""
        ends = batch.offsets.items()
        return bool(ends) and all(first < after <= self.offset(topic) for topic, (first, after) in ends)

    def _keep(self, model: str, vectors: Mapping[str, Vector]) -> None:
        for name, vector in vectors.items():
            for generation in self.held.generations:
                if generation.model == model:
                    _check(vector, generation)
            if not np.isfinite(vector).all():
                raise InvalidDeclarationError("a vector holds numbers that are not finite")
            self.held.vectors.setdefault((model, name), vector)

    def _cut(self, generation: str, version: _Version, chunks: Sequence[Chunk]) -> None:
        model = self._generation(generation).model
        for chunk in chunks:
            if (model, chunk.hash) not in self.held.vectors:
                raise InvalidDeclarationError(f"chunk {chunk.index} of {version.change.document!r} has no vector")
            self.held.cuts[generation].append(_Cut(version, chunk))
        self.held.done.add((generation, version.key))

    def _forget(self, vectors: set[tuple[str, str]]) -> None:
        """Removes those that no chunk of any generation uses."""
        used = {(one.model, cut.chunk.hash) for one in self.held.generations for cut in self.held.cuts[one.id]}
        for one in vectors - used:
            self.held.vectors.pop(one, None)


def _start(change: DocumentChange, timeline: Timeline, *, first: bool) -> int:
    if timeline == "arrival":
        return change.visible_from
    if change.valid_from_ms is not None:
        return change.valid_from_ms
    return SINCE_EVER if first else change.stream_ms


def _check(vector: Vector | None, generation: Generation) -> None:
    if vector is None or vector.shape != (generation.dimension,) or not np.isfinite(vector).all():
        raise InvalidDeclarationError(f"{generation.dimension} finite numbers make a vector of {generation.model!r}")


def _bm25(asked: Sequence[str], visible: Mapping[int, _Cut]) -> dict[int, float]:
    """`ranking`'s formula over the visible chunks; those without any of the terms are left out."""
    terms = {key: one.chunk.terms for key, one in visible.items()}
    lengths = {key: sum(counts.values()) for key, counts in terms.items()}
    mean = sum(lengths.values()) / len(lengths) if lengths else 0.0
    scores: dict[int, float] = {}
    for term, times in Counter(asked).items():
        holders = [key for key in terms if terms[key].get(term)]
        rarity = float(np.log1p((len(terms) - len(holders) + 0.5) / (len(holders) + 0.5)))
        for key in holders:
            norm = K1 * (1.0 - B + B * lengths[key] / mean)
            count = terms[key][term]
            scores[key] = scores.get(key, 0.0) + times * rarity * count * (K1 + 1.0) / (count + norm)
    return scores


def _fused(*rankings: Mapping[int, float]) -> dict[int, float]:
    sums: dict[int, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, 1):
            sums[key] = sums.get(key, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sums


def _best(scores: Mapping[int, float], passing: set[int], limit: int) -> dict[int, float]:
    """The highest first, equal ones by key."""
    keys = sorted((key for key in scores if key in passing), key=lambda key: (-scores[key], key))
    return {key: scores[key] for key in keys[: max(0, limit)]}


def _rank(ranking: dict[int, float], key: int) -> int | None:
    return list(ranking).index(key) + 1 if key in ranking else None
