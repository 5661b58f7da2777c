"""Measures a knowledge store: loading, change → searchable from another process, search, memory.

    python benchmarks/knowledge_store.py [--store sqlite|postgres] [--chunks 100000] [--parts load freshness search] [--memory 1000000]

Chunks are generated: 384 numbers in clusters, some 60 distinct terms of a Zipf-like vocabulary, five chunks to a document, given
with their vectors, so that nothing here embeds. Times of changes run from before the writer's commit until another process, which
asks the same question over and over, sees the answer change. Memory is the proportional set size of the writer and of one process
that searches: what they share counts once. Exit code 1: a target was missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, StoreQuery
from headrace.knowledge.registry import open_store
from headrace.knowledge.revision import Chunk, DocumentChange, Revision
from headrace.knowledge.store import KnowledgeStore, StoreBatch, StoreOptions
from headrace.testing.resource_ids import knowledge_base_id

DIMENSION = 384
PER_DOCUMENT = 5
DOCUMENTS_PER_BATCH = 100
CLUSTERS = 500
WORDS = 66
VOCABULARY = 30_000
GENERATION = Generation("generated", DIMENSION, "{}", state="active", created_ms=1)
NOW = 1 << 50
LOAD_TARGET = {"sqlite": 8_000, "postgres": 3_000}

missed: list[str] = []


def report(what: str, value: str, target: str = "", *, good: bool = True) -> None:
    if not good:
        missed.append(what)
    print(f"| {what} | {value} | {target}{'' if good else ' missed'} |", flush=True)


class Made:
    """Documents by number; the same ones in every process."""

    def __init__(self) -> None:
        self.centres = np.random.default_rng(1).standard_normal((CLUSTERS, DIMENSION))
        weights = 1.0 / np.arange(3, VOCABULARY + 3) ** 0.8
        self.shares = np.cumsum(weights / weights.sum())
        self.words = [f"word{number}" for number in range(VOCABULARY)]

    def vectors(self, document: int, version: int) -> np.ndarray[Any, Any]:
        """[PER_DOCUMENT, DIMENSION]"""
        draw = np.random.default_rng((document, version))
        found = self.centres[draw.integers(0, CLUSTERS, PER_DOCUMENT)] + 0.7 * draw.standard_normal(
            (PER_DOCUMENT, DIMENSION)
        )
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def texts(self, document: int, version: int) -> list[list[str]]:
        draw = np.random.default_rng((document, version, 7)).random((PER_DOCUMENT, WORDS))
        return [[self.words[at] for at in row] for row in np.searchsorted(self.shares, draw).tolist()]

    def batch(self, documents: range, version: int = 0, *, deleted: bool = False) -> StoreBatch:
        revisions: list[Revision] = []
        vectors: dict[str, Any] = {}
        for number in documents:
            chunks: tuple[Chunk, ...] = ()
            if not deleted:
                chunks = tuple(
                    Chunk(index, f"{' '.join(words)} {number}.{version}", (), index * 400, Counter(words))
                    for index, words in enumerate(self.texts(number, version))
                )
                vectors.update(zip((one.hash for one in chunks), self.vectors(number, version), strict=True))
            change = DocumentChange(
                f"document-{number}", f"v{version}", f"{version:06d}", deleted, "\n\n".join(one.text for one in chunks),
                version, version, metadata={"team": number % 100},
            )  # fmt: skip
            revisions.append(Revision(change, {} if deleted else {GENERATION.id: chunks}))
        return StoreBatch(revisions, vectors={GENERATION.model: vectors})

    def question(self, number: int) -> np.ndarray[Any, Any]:
        """Near some chunk, and none's own vector."""
        draw = np.random.default_rng((9, number))
        found = self.centres[draw.integers(0, CLUSTERS)] + 0.7 * draw.standard_normal(DIMENSION)
        return (found / np.linalg.norm(found)).astype(np.float32)


MADE = Made()


@dataclass(frozen=True)
class Place:
    """Where the store is."""

    technology: str
    state: Path
    url: str

    def open(self, exact_up_to: int = 200_000) -> KnowledgeStore:
        return open_store(
            self.technology, StoreOptions(knowledge_base_id("kb", "bench"), self.state, self.url, exact_up_to)
        )

    @contextmanager
    def reader(self, exact_up_to: int = 200_000) -> Generator["Reader"]:
        """Another process that searches."""
        command = [
            sys.executable,
            __file__,
            "--store",
            self.technology,
            "--as",
            str(self.state),
            self.url,
            str(exact_up_to),
        ]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield Reader(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


class Reader:
    """Talks to the process that searches, a line each way."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def say(self, **said: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def read_for_ever(place: Place, exact_up_to: int) -> None:
    """The process that searches: watches for one version of a document to come or to go; ends with its input."""
    with closing(place.open(exact_up_to)) as store:
        for line in sys.stdin:
            said = json.loads(line)
            if said["do"] == "settle":
                store.search(near(0))
                if hasattr(store, "settle"):
                    store.settle()  # type: ignore[attr-defined]
                store.search(near(0))
                print(json.dumps({}), flush=True)
                continue
            vector = MADE.vectors(said["document"], said["version"])[0]
            query = StoreQuery(GENERATION.id, AsOf(NOW), "vector", 1, vector)
            wanted = (f"document-{said['document']}", f"v{said['version']}")

            def seen(query: StoreQuery = query, wanted: tuple[str, str] = wanted) -> bool:
                hits = store.search(query)
                return bool(hits) and (hits[0].document, hits[0].version) == wanted

            before = seen()
            print(json.dumps({"seen": before}), flush=True)
            while seen() == before:
                pass
            print(json.dumps({"at": perf_counter()}), flush=True)


def near(number: int, *, exact: bool = False, mode: Any = "vector") -> StoreQuery:
    words = tuple(MADE.texts(number, 0)[0][:6])
    return StoreQuery(GENERATION.id, AsOf(NOW), mode, 10, MADE.question(number), words, exact=exact)


def batches(chunks: int) -> Iterator[StoreBatch]:
    for first in range(0, chunks // PER_DOCUMENT, DOCUMENTS_PER_BATCH):
        yield MADE.batch(range(first, min(first + DOCUMENTS_PER_BATCH, chunks // PER_DOCUMENT)))


def load(store: KnowledgeStore, chunks: int) -> tuple[int, float]:
    """The writer's epoch, and the seconds that it took; making the chunks is not counted."""
    epoch = store.acquire("benchmark")
    store.put_generation(epoch, GENERATION)
    took = 0.0
    for batch in batches(chunks):
        start = perf_counter()
        store.apply(epoch, batch)
        took += perf_counter() - start
    return epoch, took


def percentiles(times: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    return float(np.percentile(times, 50) * 1e3), float(np.percentile(times, 99) * 1e3)


def freshness(place: Place, store: KnowledgeStore, epoch: int, chunks: int, rounds: int) -> None:
    with place.reader() as reader:
        for what, deleted in (("upsert", False), ("delete", True)):
            times: list[float] = []
            for turn in range(rounds + 5):
                number = (turn * 37) % (chunks // PER_DOCUMENT)
                batch = MADE.batch(range(number, number + 1), 2 if deleted else 1, deleted=deleted)
                reader.say(do="watch", document=number, version=1)
                assert reader.hear()["seen"] is deleted
                start = perf_counter()
                store.apply(epoch, batch)
                times.append(reader.hear()["at"] - start)
            p50, p99 = percentiles(times[5:])
            good = p50 <= 10 and p99 <= 50
            report(
                f"{what} → searchable from another process",
                f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
                "≤ 10 / 50 ms",
                good=good,
            )


def timed(store: KnowledgeStore, queries: list[StoreQuery]) -> tuple[float, float]:
    """Making the questions is not counted."""
    times: list[float] = []
    for query in queries:
        start = perf_counter()
        store.search(query)
        times.append(perf_counter() - start)
    return percentiles(times)


def settle(store: KnowledgeStore) -> None:
    """An index that is built beside the questions is waited for, and takes in what is new."""
    for _ in range(3):
        store.search(near(0))
        if hasattr(store, "settle"):
            store.settle()  # type: ignore[attr-defined]
    for _ in range(300):
        store.search(near(0))


def recall(store: KnowledgeStore, rounds: int = 200) -> float:
    found = 0
    for number in range(rounds):
        exact, rough = (
            {(hit.document, hit.chunk) for hit in store.search(near(number, exact=e))} for e in (True, False)
        )
        found += len(exact & rough)
    return found / (10 * rounds)


def search(place: Place, writer: KnowledgeStore, epoch: int, chunks: int) -> None:
    with closing(place.open()) as store:
        store.search(near(0, exact=True, mode="hybrid"))
        for mode, target in (("vector", 15), ("keyword", 0), ("hybrid", 0)):
            p50, p99 = timed(store, [near(number, exact=True, mode=mode) for number in range(200)])
            goal = f"p50 ≤ {target} ms" if target else ""
            report(
                f"search, {mode}, exact", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", goal, good=not target or p50 <= target
            )
    with closing(place.open(exact_up_to=1_000)) as store:
        start = perf_counter()
        settle(store)
        report("the approximate index is there after", f"{perf_counter() - start:.1f} s")
        before = recall(store)
        for first in range(0, chunks // PER_DOCUMENT // 4, DOCUMENTS_PER_BATCH):
            writer.apply(epoch, MADE.batch(range(first, first + DOCUMENTS_PER_BATCH), 9))
            store.search(near(first))
        settle(store)
        p50, p99 = timed(store, [near(number) for number in range(500)])
        after = recall(store)
        report("search, vector, approximate", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", "p50 ≤ 1.5 ms", good=p50 <= 1.5)
        report(
            "recall@10, before → after a quarter changed", f"{before:.4f} → {after:.4f}", "≥ 0.98", good=after >= 0.98
        )


def proportional_mb(pid: int) -> float:
    """What the process holds, shared pages counted in part; MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def memory(place: Place, chunks: int) -> None:
    with closing(place.open()) as store:
        _, took = load(store, chunks)
        report(f"loading {chunks:,} chunks", f"{chunks / took:,.0f} rows/s")
        with place.reader() as reader:
            start = perf_counter()
            reader.say(do="settle")
            reader.hear()
            pids = {"writer": os.getpid(), "reader": reader.process.pid}
            sizes = {name: proportional_mb(pid) for name, pid in pids.items()}
            total = sum(sizes.values())
            parts = " + ".join(f"{name} {size:,.0f}" for name, size in sizes.items())
            report(f"memory with {chunks:,} chunks", f"{parts} = {total:,.0f} MB", "≤ 2,500 MB", good=total <= 2_500)
            report("index loaded and built", f"{perf_counter() - start:.0f} s")


@contextmanager
def placed(technology: str) -> Generator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        if technology != "postgres":
            yield Place(technology, Path(folder), "")
            return
        from headrace.testing.postgres_server import postgres_server

        with postgres_server() as server:
            yield Place(technology, Path(folder), server.url())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="sqlite", choices=LOAD_TARGET)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--parts", nargs="*", choices=["freshness", "search"], default=["freshness", "search"])
    parser.add_argument("--memory", type=int, default=0, help="also load so many chunks and say what memory that takes")
    parser.add_argument("--as", dest="reader", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        state, url, exact_up_to = arguments.reader
        read_for_ever(Place(arguments.store, Path(state), url), int(exact_up_to))
        return
    print(f"{arguments.store}, {arguments.chunks:,} chunks, {DIMENSION}-d\n\n| | | target |\n| --- | --- | --- |")
    if arguments.chunks:
        with placed(arguments.store) as place, closing(place.open()) as store:
            epoch, took = load(store, arguments.chunks)
            rate, target = arguments.chunks / took, LOAD_TARGET[arguments.store]
            report("loading, 500 chunks per commit", f"{rate:,.0f} rows/s", f"≥ {target:,}", good=rate >= target)
            if arguments.store == "postgres":  # its index is the server's: built once the loading is over
                settle(store)
            if "freshness" in arguments.parts:
                freshness(place, store, epoch, arguments.chunks, arguments.rounds)
            if "search" in arguments.parts:
                search(place, store, epoch, arguments.chunks)
    if arguments.memory:
        with placed(arguments.store) as place:
            memory(place, arguments.memory)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
