"""What one transaction writes: versions with their intervals, chunks, offsets, small values; and what it purges."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from psycopg import sql

from headrace.foundation.errors import FencedError, InvalidDeclarationError, NotFoundError
from headrace.knowledge.postgres import vectors as vector_tables
from headrace.knowledge.postgres.encoding import (
    document_id,
    dumped,
    escaped,
    filterable,
    int_array,
    text_array,
    unescaped,
)
from headrace.knowledge.postgres.server import Connection
from headrace.knowledge.revision import CANARY, SINCE_EVER, Chunk, DocumentChange, Revision, interval_ends
from headrace.knowledge.store import ApplyReport, StoreBatch


@dataclass(frozen=True, slots=True)
class Target:
    """A generation as the writer needs it."""

    number: int
    model: int
    model_name: str
    dimension: int


@dataclass
class _Accepted:
    """The new versions of one document, oldest first."""

    first: bool
    """Whether the document is new."""
    newest: str | None
    revisions: list[Revision] = field(default_factory=list[Revision])


def fence(connection: Connection, epoch: int) -> None:
    """Locks the writer's row until the transaction ends. FencedError if another writer took over."""
    row = connection.execute(
        "update writer set batches = batches + 1 where epoch = %s returning epoch", (epoch,)
    ).fetchone()
    if row is None:
        holder = connection.execute("select holder, epoch from writer").fetchone() or ("nobody", 0)
        raise FencedError(
            f"the writer of epoch {epoch} was replaced: {holder[0]} has been the writer since epoch {holder[1]}",
            next_step="end this process",
        )


def targets(connection: Connection) -> dict[str, Target]:
    """By generation id."""
    rows = connection.execute(
        "select g.id, g.number, m.id, m.model, m.dimension from generations g join models m on m.id = g.model"
    ).fetchall()
    return {
        str(row[0]): Target(int(str(row[1])), int(str(row[2])), unescaped(str(row[3])), int(str(row[4])))
        for row in rows
    }


def target(connection: Connection, generation: str) -> Target:
    """NotFoundError if the generation does not exist."""
    found = targets(connection).get(generation)
    if found is None:
        raise NotFoundError(f"there is no generation {generation!r}", next_step="use one of generations()")
    return found


def apply(connection: Connection, batch: StoreBatch) -> ApplyReport:
    """The port's `apply`, inside a fenced transaction."""
    for model, given in batch.vectors.items():
        vector_tables.keep(connection, model, given)
    accepted = {} if _consumed(connection, batch.offsets) else _accept(connection, batch.revisions)
    new = [one for document in accepted.values() for one in document.revisions]
    kept = {id(one) for one in new}
    in_order = [one for one in batch.revisions if id(one) in kept]
    keys = _write_versions(connection, accepted, in_order)
    chunks = 0
    known = targets(connection)
    for generation in dict.fromkeys(name for one in in_order for name in one.chunks):
        if generation not in known:
            raise NotFoundError(f"there is no generation {generation!r}", next_step="create it first")
        cut = [(keys[id(one)], one.chunks[generation]) for one in in_order if generation in one.chunks]
        chunks += write_chunks(connection, known[generation], cut)
    _write_offsets(connection, batch)
    return ApplyReport(len(in_order), len(batch.revisions) - len(in_order), chunks)


def _consumed(connection: Connection, offsets: Mapping[str, tuple[int, int]]) -> bool:
    """Whether the whole batch was already consumed."""
    if not offsets:
        return False
    rows = connection.execute(
        "select topic, next_offset from offsets where topic = any(%s)", ([escaped(one) for one in offsets],)
    ).fetchall()
    stored = {unescaped(str(row[0])): int(str(row[1])) for row in rows}
    return all(first < after <= stored.get(topic, 0) for topic, (first, after) in offsets.items())


def _accept(connection: Connection, revisions: Sequence[Revision]) -> dict[str, _Accepted]:
    names = {document_id(one.change.document) for one in revisions}
    rows = connection.execute(
        'select document_id, max("order") from versions where document_id = any(%s::uuid[]) group by document_id',
        (list(names),),
    ).fetchall()
    newest = {str(row[0]).replace("-", ""): unescaped(str(row[1])) for row in rows}
    accepted: dict[str, _Accepted] = {}
    for one in revisions:
        name = document_id(one.change.document)
        known = accepted.setdefault(name, _Accepted(name not in newest, newest.get(name)))
        if known.newest is None or one.change.order > known.newest:
            known.newest = one.change.order
            known.revisions.append(one)
    return {name: one for name, one in accepted.items() if one.revisions}


def _starts(document: _Accepted) -> tuple[list[int], list[int]]:
    """On the arrival and the event timeline; of the port's `apply`."""
    arrival = [one.change.visible_from for one in document.revisions]
    event = [
        one.change.valid_from_ms
        if one.change.valid_from_ms is not None
        else SINCE_EVER
        if document.first and place == 0
        else one.change.stream_ms
        for place, one in enumerate(document.revisions)
    ]
    return arrival, event


def _write_versions(
    connection: Connection, accepted: Mapping[str, _Accepted], in_order: Sequence[Revision]
) -> dict[int, int]:
    """Ends the versions they replace and adds them, in order. Returns each one's key, by the revision's identity."""
    if not in_order:
        return {}
    keys = dict(zip((id(one) for one in in_order), _new_keys(connection, "versions", len(in_order)), strict=True))
    intervals: dict[int, tuple[int, int, int, int]] = {}
    ends: list[tuple[str, int, int]] = []
    for name, document in accepted.items():
        arrival, event = _starts(document)
        spans = zip(arrival, interval_ends(arrival), event, interval_ends(event), strict=True)
        intervals.update(zip((id(one) for one in document.revisions), spans, strict=True))
        if not document.first:
            ends.append((name, min(arrival), min(event)))
    _end_earlier(connection, ends)
    with connection.cursor() as cursor:
        with cursor.copy(_COPY_VERSIONS) as copy:
            for one in in_order:
                change = one.change
                canary = change.document.startswith(CANARY)
                copy.write_row(
                    (keys[id(one)], document_id(change.document), escaped(change.order), change.deleted, canary,
                     *intervals[id(one)])
                )  # fmt: skip
        with cursor.copy(_COPY_CONTENTS) as copy:
            for one in in_order:
                copy.write_row((keys[id(one)], *_contents(one.change)))
    return keys


_COPY_VERSIONS = 'copy versions (key, document_id, "order", deleted, canary, visible_from, visible_to, valid_from, valid_to) from stdin'
_COPY_CONTENTS = "copy contents (version, document, name, title, text, media, metadata, filterable) from stdin"
_COPY_CUTS = "copy cuts (generation, version, chunks, length) from stdin"
_COPY_CHUNKS = "copy chunks (key, generation, version, vector, length) from stdin"
_COPY_PASSAGES = "copy passages (chunk, index, start, text, headings, terms, counts) from stdin"


def _contents(change: DocumentChange) -> tuple[str, ...]:
    return (
        escaped(change.document), escaped(change.version), escaped(change.title), escaped(change.text),
        escaped(change.media), dumped(change.metadata), filterable(change.metadata),
    )  # fmt: skip


def _end_earlier(connection: Connection, ends: Sequence[tuple[str, int, int]]) -> None:
    """`interval_ends`, one newer version at a time: an end only ever moves earlier, and never before its start."""
    if not ends:
        return
    names, arrival, event = (list(column) for column in zip(*ends, strict=True))
    connection.execute(
        """update versions v set visible_to = least(visible_to, greatest(visible_from, n.arrival)),
             valid_to = least(valid_to, greatest(valid_from, n.event))
           from unnest(%s::uuid[], %s::bigint[], %s::bigint[]) n (id, arrival, event)
           where v.document_id = n.id
             and (visible_to > greatest(visible_from, n.arrival) or valid_to > greatest(valid_from, n.event))""",
        (names, arrival, event),
    )


def _new_keys(connection: Connection, table: str, count: int) -> list[int]:
    """Ascending, never used before."""
    rows = connection.execute(
        "select nextval(pg_get_serial_sequence(%s, 'key')) from generate_series(1, %s)", (table, count)
    ).fetchall()
    return sorted(int(str(row[0])) for row in rows)


def write_chunks(connection: Connection, where: Target, cut: Sequence[tuple[int, Sequence[Chunk]]]) -> int:
    """Adds the chunks of versions, by the version's key. InvalidDeclarationError if a vector is missing."""
    pieces = [(version, chunk, chunk.hash) for version, chunks in cut for chunk in chunks]
    ids = vector_tables.ids_of(connection, where.model, list({name for *_, name in pieces})) if pieces else {}
    for version, chunk, name in pieces:
        if name not in ids:
            raise InvalidDeclarationError(
                f"chunk {chunk.index} of version {version} has no vector of {where.model_name} with"
                f" {where.dimension} dimensions",
                next_step="pass the vector with the batch, or store it first",
            )
    lengths = [sum(chunk.terms.values()) for _, chunk, _ in pieces]
    keys = _new_keys(connection, "chunks", len(pieces)) if pieces else []
    with connection.cursor() as cursor:
        with cursor.copy(_COPY_CUTS) as copy:
            totals = {
                version: sum(length for _, length in group)
                for version, group in groupby(
                    zip((piece[0] for piece in pieces), lengths, strict=True), key=lambda pair: pair[0]
                )
            }
            for version, chunks in cut:
                copy.write_row((where.number, version, len(chunks), totals.get(version, 0)))
        if not pieces:
            return 0
        with cursor.copy(_COPY_CHUNKS) as copy:
            for key, (version, _, name), length in zip(keys, pieces, lengths, strict=True):
                copy.write_row((key, where.number, version, ids[name], length))
        with cursor.copy(_COPY_PASSAGES) as copy:
            for key, (_, chunk, _) in zip(keys, pieces, strict=True):
                copy.write_row((key, *_passage(chunk)))
    return len(pieces)


def _passage(chunk: Chunk) -> tuple[object, ...]:
    return (
        chunk.index, chunk.start, escaped(chunk.text), json.dumps(chunk.headings),
        text_array(list(chunk.terms)), int_array(list(chunk.terms.values())),
    )  # fmt: skip


def _write_offsets(connection: Connection, batch: StoreBatch) -> None:
    for topic, (_, after) in batch.offsets.items():
        connection.execute(
            "insert into offsets (topic, next_offset) values (%s, %s) on conflict (topic)"
            " do update set next_offset = greatest(offsets.next_offset, excluded.next_offset)",
            (escaped(topic), after),
        )
    for key, value in batch.state.items():
        if value is None:
            connection.execute("delete from state where key = %s", (escaped(key),))
        else:
            connection.execute(
                "insert into state (key, value) values (%s, %s) on conflict (key) do update set value = excluded.value",
                (escaped(key), value),
            )


def purge(connection: Connection, before_ms: int) -> int:
    """Versions that have ended, with their chunks and unused vectors; tombstones that nothing replaced never end."""
    connection.execute("create temp table gone (version bigint primary key) on commit drop")
    connection.execute("insert into gone select key from versions where visible_to < %s", (before_ms,))
    rows = connection.execute(
        "select g.model, array_agg(distinct c.vector) from gone join chunks c using (version)"
        " join generations g on g.number = c.generation group by g.model"
    ).fetchall()
    count = connection.execute("delete from versions where key in (select version from gone)").rowcount
    for model, used in rows:
        assert isinstance(used, list)
        vector_tables.drop_unused(connection, int(str(model)), used)
    return count


def acquire(connection: Connection, holder: str) -> int:
    """The next epoch."""
    row = connection.execute(
        sql.SQL("update writer set epoch = epoch + 1, holder = %s returning epoch"), (escaped(holder),)
    ).fetchone()
    assert row is not None
    return int(str(row[0]))
