"""Readers beside a writer, and a writer's sudden end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.knowledge.query import AsOf, Counts
from headrace.knowledge.store import KnowledgeStore, StoreOptions
from headrace.testing.knowledge_conformance import writer
from headrace.testing.knowledge_conformance.builders import GENERATION, LATER, TOPIC, question
from headrace.testing.knowledge_conformance.place import StorePlace, Stores
from headrace.testing.knowledge_conformance.writer import DOCUMENTS, turn

PATIENCE_SECONDS = 60.0


class ProcessConformance(StorePlace):
    def test_readers_see_whole_batches_while_another_thread_writes(
        self, store: KnowledgeStore, epoch: int, stores: Stores, options: StoreOptions
    ) -> None:
        other = stores.open(options)
        store.apply(epoch, turn(0))
        done = threading.Event()
        torn: list[object] = []

        def read(reader: KnowledgeStore) -> None:
            last = -1
            while not done.is_set():
                number, whole = _what_is_seen(reader)
                if not whole or number < last:
                    torn.append((last, number, whole))
                last = number

        threads = [threading.Thread(target=read, args=(reader,)) for reader in (store, other)]
        for thread in threads:
            thread.start()
        for number in range(1, 25):
            store.apply(epoch, turn(number))
        done.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)

        assert torn == []
        assert _what_is_seen(other) == (24, True)

    @pytest.mark.kill
    def test_a_writer_that_is_killed_tears_nothing(
        self, store: KnowledgeStore, epoch: int, options: StoreOptions
    ) -> None:
        del epoch
        for goal in (3, 7, 12):
            with self._child(options) as child:
                _wait_for(store, goal * DOCUMENTS, child)
                child.send_signal(signal.SIGKILL)
                assert child.wait(PATIENCE_SECONDS) == -signal.SIGKILL
            _check(store)

    @pytest.mark.kill
    @pytest.mark.parametrize(("side", "done"), [("before", 2), ("after", 3)])
    def test_a_kill_around_the_third_batch_leaves_two_or_three(
        self, store: KnowledgeStore, epoch: int, options: StoreOptions, side: str, done: int
    ) -> None:
        with self._child(options, failpoint=f"knowledge.apply.{side}:3") as child:
            assert child.wait(PATIENCE_SECONDS) == -signal.SIGKILL

        assert _check(store) == done - 1
        assert store.acquire("the next") > epoch

    @contextmanager
    def _child(self, options: StoreOptions, failpoint: str = "") -> Generator["subprocess.Popen[bytes]"]:
        arguments = [self.technology, options.id.name, str(options.state), options.url]
        environment = {**os.environ, **({"HEADRACE_FAILPOINT": failpoint} if failpoint else {})}
        process = subprocess.Popen([sys.executable, "-m", writer.__name__, *arguments], env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE_SECONDS)


def _wait_for(store: KnowledgeStore, offset: int, child: "subprocess.Popen[bytes]") -> None:
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while store.offset(TOPIC) < offset:
        assert child.poll() is None, "the writer ended by itself"
        assert SYSTEM_CLOCK.monotonic() < deadline
        SYSTEM_CLOCK.sleep(0.002)


def _what_is_seen(store: KnowledgeStore) -> tuple[int, bool]:
    """The number, and whether it is the same everywhere and every document is there once."""
    hits = store.search(question("number", mode="vector", limit=100, exact=False))
    numbers = {hit.version for hit in hits}
    places = sorted((hit.document, hit.chunk) for hit in hits)
    whole = len(numbers) == 1 and places == [(f"d{n}", chunk) for n in range(DOCUMENTS) for chunk in (0, 1)]
    return int(hits[0].version.removeprefix("v")) - 1 if hits else -1, whole


def _check(store: KnowledgeStore) -> int:
    """Documents, offset and state agree. Returns the number of the last batch."""
    number, whole = _what_is_seen(store)
    assert whole
    assert store.state("turn") == b"%d" % number
    assert store.offset(TOPIC) == (number + 1) * DOCUMENTS
    assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(DOCUMENTS, 2 * DOCUMENTS, 0)
    words = store.search(question("number again", mode="keyword", limit=100))
    assert len(words) == 2 * DOCUMENTS
    for at in range(1, number + 2):
        assert store.counts(GENERATION.id, AsOf(at)) == Counts(DOCUMENTS, 2 * DOCUMENTS, 0)
    return number
