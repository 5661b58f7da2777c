"""Killing an indexing run: a history of documents, an embedder whose calls outlive it, the run as a process, and what must be true after it.

`python -m headrace.testing.index_kills ORDER` is the run itself: it indexes what the log holds, says `opening` and `ready`, and ends.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from headrace.events import codec, topics
from headrace.events.row_codec import row_values
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import FinalError
from headrace.foundation.ids import derive_id
from headrace.foundation.parent import die_with_parent
from headrace.knowledge.changes import DocumentColumns, to_change
from headrace.knowledge.chunking import ChunkOptions, chunk
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, Hit, StoreQuery
from headrace.knowledge.registry import open_store
from headrace.knowledge.revision import SINCE_EVER, DocumentChange, Revision
from headrace.knowledge.store import KnowledgeStore, StoreBatch, StoredDocument
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.models.embedder import Vectors
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import IndexStage, group, store_options
from headrace.testing.builders import read_all
from headrace.testing.knowledge_oracle import OracleStore
from headrace.testing.pipeline import SmallReads
from headrace.testing.resource_ids import connector_id, embedding_model_id, knowledge_base_id
from headrace.testing.word_embedder import WordEmbedder

OPTIONS = KnowledgeOptions(
    knowledge_base_id("policies"), connector_id("docs"), EmbedOptions(embedding_model_id("words")),
    columns=DocumentColumns(version="version", valid_from="since", metadata=("area",)), chunking=ChunkOptions(24, 4),
)  # fmt: skip
EVENTS = topics.events(OPTIONS.source)
DEAD = topics.stage_dead(OPTIONS.id, "index")
EVERYTHING = 1_000_000
_WORDS = (
    "fee",
    "card",
    "limit",
    "address",
    "routing",
    "transfer",
    "refund",
    "branch",
    "account",
    "letter",
    "query",
    "till",
    "rate",
)
_BROKEN: tuple[dict[str, object], ...] = (
    {"path": ""}, {"body": "   "}, {"operation": "explode"}, {"version": None}, {"since": "soon"}, {"media": "video"},
)  # fmt: skip

Row = dict[str, object]


class History:
    """Changes of a few documents: edits, deletions, documents that come again, versions that come late, repeats, rows that are none."""

    def __init__(self, seed: int, documents: int = 12) -> None:
        self._draw = random.Random(seed)
        self._paragraphs: dict[str, list[str]] = {f"d{number}.md": [] for number in range(documents)}
        self._versions = Counter[str]()
        self._told: list[Row] = []
        self._count = 0

    def rows(self, count: int) -> list[Row]:
        """The next ones."""
        found = [self._next() for _ in range(count)]
        self._told = [*self._told, *found][-40:]
        return found

    def repeated(self, count: int) -> list[Row]:
        """The newest ones again, as a source that goes back sends them."""
        return self._told[-count:]

    def _next(self) -> Row:
        draw, self._count = self._draw, self._count + 1
        name = draw.choice(sorted(self._paragraphs))
        match draw.choices(("edit", "delete", "late", "repeat", "broken"), (66, 12, 8, 8, 6))[0]:
            case "delete":
                return {"path": name, "operation": "delete", "version": self._versions[name]}
            case "late":
                return self._row(name, [self._paragraph()], max(0, self._versions[name] - draw.randint(1, 3)))
            case "repeat" if self._told:
                return draw.choice(self._told)
            case "broken":
                return {**self._row(name, [self._paragraph()], self._count + 10_000), **draw.choice(_BROKEN)}
            case _:
                return self._edited(name)

    def _edited(self, name: str) -> Row:
        """One paragraph changes, comes or goes; the others stay."""
        paragraphs = self._paragraphs[name]
        place = self._draw.randint(0, len(paragraphs))
        paragraphs[place : place + self._draw.randint(0, 1)] = [self._paragraph()]
        del paragraphs[6:]
        self._versions[name] += self._draw.randint(1, 3)
        return self._row(name, paragraphs, self._versions[name])

    def _paragraph(self) -> str:
        return (
            " ".join([*self._draw.choices(_WORDS, k=self._draw.randint(8, 22)), str(self._draw.randrange(400))]) + "."
        )

    def _row(self, name: str, paragraphs: Sequence[str], version: int) -> Row:
        row: Row = {"path": name, "body": "\n\n".join(paragraphs), "title": f"Of {name}", "version": version}
        row["area"] = self._draw.choice(("desk", "till"))
        if self._draw.random() < 0.2:
            row["since"] = 1_700_000_000_000 + self._draw.randint(-60_000, 60_000)
        return row


def append_rows(log: TopicLog, rows: Sequence[Row], now_ms: int, draw: random.Random) -> None:
    """Appends them as the connector would, under record ids of their own; their times go to and fro."""
    log.ensure_topic(TopicSpec(EVENTS))
    first = log.topic(EVENTS).end_offset
    records = [
        NewRecord(
            f"{EVENTS}:{first + place}", codec.ROW, json.dumps(row).encode(), now_ms - draw.randint(0, 5_000), ingested_at=now_ms
        )
        for place, row in enumerate(rows)
    ]  # fmt: skip
    log.commit(Commit([Append(EVENTS, records)]))


class JournalEmbedder(WordEmbedder):
    """Writes what it was asked for to a file, on the disk before it answers."""

    def __init__(self, journal: Path) -> None:
        super().__init__(32)
        self._file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> Vectors:
        os.write(self._file, json.dumps(list(texts)).encode() + b"\n")
        os.fsync(self._file)
        return super().embed(texts, progress)

    def close(self) -> None:
        """Closes the file; harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass
class Ledger:
    """Holds every text that was embedded against what the store had kept by then."""

    journal: Path
    model: str
    embedded: Counter[str] = field(default_factory=Counter[str])
    """How often, by the hash of its text."""
    again: Counter[str] = field(default_factory=Counter[str])
    """Embedded although its vector had been kept, by hash."""
    _kept: set[str] = field(default_factory=set[str])
    _read: int = 0

    def settle(self, store: KnowledgeStore) -> None:
        """Called when a run is over, before the next one begins: reads what it embedded, then what it left kept."""
        lines = self.journal.read_bytes() if self.journal.exists() else b""
        mine = [derive_id("chunk", text) for line in lines[self._read :].splitlines() for text in json.loads(line)]
        self._read = len(lines)
        known = set(self._kept)
        for one in mine:
            self.embedded[one] += 1
            if one in known:
                self.again[one] += 1
            known.add(one)  # between two calls of one run nothing ended: what the first gave was kept
        self._kept = self.embedded.keys() - set(store.missing_vectors(self.model, list(self.embedded)))

    def twice(self, chunks: Iterable[str]) -> int:
        """Of these chunks, how often one was embedded once more because a kill came before its vector was kept."""
        return sum(max(0, self.embedded[one] - 1 - self.again[one]) for one in chunks)


class Order(msgspec.Struct, frozen=True):
    """What a run is told."""

    state: Path
    journal: Path
    store: str = "sqlite"
    url: str = ""
    chunking: tuple[int, int] = (24, 4)
    at_most: int = 3
    """Records that it reads at once."""

    @property
    def options(self) -> KnowledgeOptions:
        return replace(OPTIONS, store=self.store, url=self.url, chunking=ChunkOptions(*self.chunking))


def open_for_reading(order: Order) -> KnowledgeStore:
    return open_store(order.store, store_options(order.options, order.state))


class IndexRun:
    """A run as a process group of its own."""

    def __init__(self, order: Order, words: Path) -> None:
        """Returns once it has begun to open. `words`: where its errors go."""
        command = [sys.executable, "-m", __spec__.name, msgspec.json.encode(order, enc_hook=str).decode()]
        with words.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, loaded before
            )
        self.wait()

    def wait(self) -> None:
        """Until the next that it says, `ready` after its beginning; or until it ends."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL to the whole group after so long. False: it had ended by itself; RuntimeError: with an error."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            code = self._process.wait()
        self._close()
        if code not in {0, -signal.SIGKILL}:
            raise RuntimeError(f"the index ended with exit code {code}")
        return code != 0

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()


# -- what must be true in the end


@dataclass
class Expected:
    """What a topic comes to by the definitions alone."""

    store: OracleStore
    epoch: int
    dead: dict[str, int]
    """Offsets of rows that are no documents, by their dead letters' ids."""
    chunks: set[str]
    """Hashes of every chunk of every change, those of older versions included."""
    moments: list[int]
    """At which something begins, and just before."""


def expected(log: TopicLog, generations: Sequence[Generation]) -> Expected:
    """From the whole topic of events, for these generations."""
    changes, dead = _changes(log)
    embedder, oracle = WordEmbedder(32), OracleStore()
    epoch = oracle.acquire("oracle")
    texts: dict[str, str] = {}
    revisions = [Revision(one, {}) for one in changes]
    for generation in generations:
        oracle.put_generation(epoch, generation)
        told = json.loads(generation.chunker)
        cutting = ChunkOptions(told["maxTokens"], told["overlap"])
        for place, one in enumerate(changes):
            cut = () if one.deleted else chunk(one.text, one.media, one.title, cutting, embedder)
            texts |= {piece.hash: piece.embedded for piece in cut}
            revisions[place] = Revision(one, {**revisions[place].chunks, generation.id: cut})
    vectors = dict(zip(texts, embedder.embed(list(texts.values())), strict=True))
    oracle.apply(epoch, StoreBatch(revisions, vectors={embedder.fingerprint: vectors}))
    edges = {edge for one in changes for edge in (one.seen_ms, one.stream_ms, one.visible_from, one.valid_from_ms or 0)}
    return Expected(oracle, epoch, dead, set(texts), sorted({edge + by for edge in edges for by in (-1, 0)}))


def _changes(log: TopicLog) -> tuple[list[DocumentChange], dict[str, int]]:
    changes: list[DocumentChange] = []
    dead: dict[str, int] = {}
    stream_ms = 0
    for record in read_all(log, EVENTS):
        stream_ms = max(stream_ms, record.event_time)
        try:
            changes.append(
                to_change(
                    row_values(record), OPTIONS.columns, seen_ms=record.ingested_at, stream_ms=stream_ms, offset=record.offset
                )
            )  # fmt: skip
        except FinalError:
            dead[derive_id(EVENTS, record.offset, group(OPTIONS))] = record.offset
    return changes, dead


def differences(log: TopicLog, store: KnowledgeStore, known: Expected, moments: Sequence[int]) -> list[str]:
    """Where the store, or the dead letters, are not what they should be; a line each."""
    lines = _dead_differences(log, known)
    if (read := store.offset(EVENTS)) != (end := log.topic(EVENTS).end_offset):
        lines.append(f"{read} of {end} rows were read")
    for timeline in ("arrival", "event"):
        for at in (*moments, 1 << 61):
            lines += _at(store, known.store, AsOf(at, timeline))
    left = {one.id: len(store.not_in_generation(one.id, 5)) for one in known.store.generations()}
    return lines + [f"{count} versions were not cut for {name}" for name, count in left.items() if count]


def _dead_differences(log: TopicLog, known: Expected) -> list[str]:
    found = Counter(one.id for one in read_all(log, DEAD))
    missing = known.dead.keys() - found.keys()
    lines = [f"no dead letter for the row at {known.dead[one]}" for one in missing]
    return lines + [f"{times} dead letters {one}" for one, times in found.items() if times > 1 or one not in known.dead]


def _at(store: KnowledgeStore, oracle: OracleStore, at: AsOf) -> list[str]:
    """Documents, tombstones, what changed, and in each generation every chunk with its vector, as of a moment."""
    lines: list[str] = []
    ever = AsOf(SINCE_EVER, at.timeline)
    if store.changed(ever, at.at_ms) != oracle.changed(ever, at.at_ms):
        lines.append(f"{at}: other documents changed until then")
    for name in sorted({one.change.document for one in oracle.held.versions}):
        mine, its = _plain(store.document(name, at)), _plain(oracle.document(name, at))
        if mine != its:
            lines.append(f"{at}: {name} is {mine} and should be {its}")
    for one in oracle.generations():
        if (counts := store.counts(one.id, at)) != oracle.counts(one.id, at):
            lines.append(f"{at}: {one.id} counts {counts}, not {oracle.counts(one.id, at)}")
        query = StoreQuery(
            one.id, at, "vector", EVERYTHING, WordEmbedder(32).embed(["fee of the card"])[0], exact=True, current=False
        )
        if (mine := _chunks(store.search(query))) != (its := _chunks(oracle.search(query))):
            lines.append(f"{at}: {one.id} has {len(mine)} chunks where there should be {len(its)}, or others")
    return lines


def _plain(document: StoredDocument | None) -> StoredDocument | None:
    return document and replace(document, key=0)


def _chunks(hits: Sequence[Hit]) -> list[tuple[object, ...]]:
    return sorted(
        (one.document, one.version, one.chunk, one.text, one.headings, one.title, tuple(one.metadata.items()), one.seen_ms,
         round(one.score, 5) + 0.0)
        for one in hits
    )  # fmt: skip


# -- killing it again and again

BACKLOG = 60
"""Rows that wait at least when a run begins, so that it never runs out of work before it is killed."""
LEFT_TO_BUILD = 0.7
"""Of the times when a generation is being built, so often nothing new comes: live changes go first."""
SPAN_SECONDS = 0.35
"""Within which a kill comes after a run said that it is ready."""
OPENING = 0.1
"""Share of the runs that are killed from the beginning of their opening on."""
CHUNKINGS = ((24, 4), (12, 0), (40, 8))


@dataclass
class Found:
    """What came of it."""

    kills: int
    kills_at_work: int
    """Those before which the run had embedded or indexed something."""
    rows: int
    versions: int
    generations: int
    dead: int
    chunks: int
    """Different texts, by the definition."""
    embedded: int
    """Of these, how many times one was embedded."""
    embedded_twice: int
    """Because a kill came between embedding and keeping."""
    embedded_though_kept: int
    moments: int
    differences: list[str]

    def summary(self) -> str:
        return (
            f"{self.kills_at_work} of them after the run had embedded or indexed something; {self.rows} rows, {self.versions} versions, "
            f"{self.dead} dead letters, {self.generations} generations, {self.chunks} different chunks\n"
            f"chunks embedded: {self.embedded}; again though their vector had been kept: {self.embedded_though_kept}; "
            f"again because the kill came between embedding and keeping: {self.embedded_twice}\n"
            f"compared as of {self.moments} moments on both timelines"
        )


class Killing:
    """One knowledge base, and the process that kills its writer."""

    def __init__(self, order: Order, seed: int) -> None:
        self._order, self._draw = order, random.Random(seed)
        self._history = History(seed)
        self._ledger = Ledger(order.journal, WordEmbedder(32).fingerprint)
        self._words = order.journal.with_name("words.txt")
        self._kills = self._at_work = self._chunking = 0
        order.state.mkdir(parents=True, exist_ok=True)

    def kill(self, kills: int) -> None:
        """So many times, in the middle of its work."""
        for number in range(kills):
            self._feed()
            self._rechunk(number * len(CHUNKINGS) // kills)
            before = self._place()
            while not self._killed():
                self._feed()
            self._kills += 1
            self._at_work += self._place() != before

    def finish(self, moments: int = 12) -> Found:
        """Lets it come to its end, and looks."""
        if self._run().kill_after(120.0):
            raise TimeoutError("the index did not come to its end")
        self._place()
        with closing(open_log(self._order.state)) as log, closing(open_for_reading(self._order)) as store:
            known = expected(log, store.generations())
            chosen = self._draw.sample(known.moments, min(moments, len(known.moments)))
            embedded = sum(self._ledger.embedded[one] for one in known.chunks)
            return Found(
                self._kills, self._at_work, log.topic(EVENTS).end_offset, len(known.store.held.versions),
                len(store.generations()), len(known.dead), len(known.chunks), embedded, self._ledger.twice(known.chunks),
                sum(self._ledger.again[one] for one in known.chunks), len(chosen) + 1,
                differences(log, store, known, chosen) + self._missed(known),
            )  # fmt: skip

    def _missed(self, known: Expected) -> list[str]:
        cut = {one.chunk.hash for cuts in known.store.held.cuts.values() for one in cuts}
        count = sum(not self._ledger.embedded[one] for one in cut)
        return [f"{count} chunks were never embedded"] if count else []

    def _run(self) -> IndexRun:
        return IndexRun(self._order, self._words)

    def _killed(self) -> bool:
        """Runs it until it is killed. False: it came to its end before."""
        run = self._run()
        if self._draw.random() >= OPENING:
            run.wait()
        return run.kill_after(self._draw.uniform(0, SPAN_SECONDS))

    def _feed(self) -> None:
        """More rows where few wait; now and then the newest come once more."""
        with closing(open_log(self._order.state)) as log, closing(open_for_reading(self._order)) as store:
            log.ensure_topic(TopicSpec(EVENTS))
            if self._draw.random() < LEFT_TO_BUILD and any(one.state == "building" for one in store.generations()):
                return
            if log.topic(EVENTS).end_offset - store.offset(EVENTS) < BACKLOG:
                append_rows(log, self._history.rows(BACKLOG), SYSTEM_CLOCK.now_ms(), self._draw)
            if self._draw.random() < 0.25:
                append_rows(log, self._history.repeated(self._draw.randint(3, 20)), SYSTEM_CLOCK.now_ms(), self._draw)

    def _rechunk(self, number: int) -> None:
        """Declares another size once the one before was built: a half-built generation would be dropped, with its vectors."""
        if number == self._chunking:
            return
        with closing(open_for_reading(self._order)) as store:
            if all(one.state != "building" for one in store.generations()):
                self._chunking = number
                self._order = msgspec.structs.replace(self._order, chunking=CHUNKINGS[number])

    def _place(self) -> tuple[int, int]:
        """How far it is; called when no run is there."""
        with closing(open_for_reading(self._order)) as store:
            self._ledger.settle(store)
            return store.offset(EVENTS), self._ledger.embedded.total()


def main(argument: str) -> None:
    """Indexes until there is nothing more to do, or until its parent process ends."""
    die_with_parent()
    order = msgspec.json.decode(argument, type=Order, dec_hook=lambda kind, value: kind(value))
    with closing(open_log(order.state)) as log, closing(JournalEmbedder(order.journal)) as embedder:
        small = SmallReads(log, order.at_most)
        _say("opening")
        stage = IndexStage(order.options, small, "run", order.state, SYSTEM_CLOCK, embedder=embedder)  # type: ignore[arg-type]
        with closing(stage):
            _say("ready")
            while stage.step():
                pass


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
