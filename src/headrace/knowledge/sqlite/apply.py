"""Applies a batch, inside a transaction that its caller begins and ends."""

from collections.abc import Iterable

from headrace.knowledge.revision import CANARY, FOREVER, SINCE_EVER, DocumentChange, Revision
from headrace.knowledge.sqlite.chunks import GenerationRow, Parts, generation_row, write_chunks
from headrace.knowledge.sqlite.metadata import comparable, to_json
from headrace.knowledge.sqlite.vectors import keep
from headrace.knowledge.sqlite.writer import Turn
from headrace.knowledge.store import ApplyReport, StoreBatch

_PER_LOOKUP = 500
_CLOSE = (
    "UPDATE revisions SET seq = ?1, visible_to = CASE WHEN visible_to > ?3 THEN max(visible_from, ?3) ELSE visible_to END, "
    "valid_to = CASE WHEN valid_to > ?4 THEN max(valid_from, ?4) ELSE valid_to END "
    "WHERE document = ?2 AND (visible_to > max(visible_from, ?3) OR valid_to > max(valid_from, ?4))"
)
"""The newest version wins from its start on: `revision.interval_ends`, one version at a time."""


def apply_batch(turn: Turn, batch: StoreBatch) -> ApplyReport:
    """InvalidDeclarationError: a vector is wrong or missing. NotFoundError: chunks for an unknown generation."""
    for model, vectors in batch.vectors.items():
        keep(turn, model, vectors)
    revisions = () if _consumed(turn, batch) else batch.revisions
    newer = _newer(turn, revisions)
    parts: dict[str, list[tuple[int, Revision]]] = {}
    for revision, document, first in newer:
        key = turn.key()
        _write(turn, key, document, revision.change, first=first)
        for name in revision.chunks:
            parts.setdefault(name, []).append((key, revision))
    written = 0
    for name, some in parts.items():
        cut: Parts = [(key, revision.chunks[name]) for key, revision in some]
        written += write_chunks(turn, _generation(turn, name), cut)
    _move_offsets(turn, batch)
    _write_state(turn, batch)
    return ApplyReport(len(newer), len(batch.revisions) - len(newer), written)


def _generation(turn: Turn, name: str) -> GenerationRow:
    return generation_row(turn.connection, name)


def _consumed(turn: Turn, batch: StoreBatch) -> bool:
    """Whether everything the batch read was already consumed: a replay, whatever its versions say."""
    return bool(batch.offsets) and all(
        after <= _offset(turn, topic) and after > first for topic, (first, after) in batch.offsets.items()
    )


def _offset(turn: Turn, topic: str) -> int:
    row = turn.connection.execute("SELECT next FROM offsets WHERE topic = ?", (topic,)).fetchone()
    return row[0] if row else 0


def _newer(turn: Turn, revisions: Iterable[Revision]) -> list[tuple[Revision, int, bool]]:
    """Revisions newer than the known ones, with their document's number, and whether the document is new."""
    some = list(revisions)
    known = _newest(turn, [one.change.document for one in some])
    newer: list[tuple[Revision, int, bool]] = []
    fresh: dict[int, tuple[str, str]] = {}
    for one in some:
        name, order = one.change.document, one.change.order
        number, newest = known.get(name, (0, None))
        if newest is not None and order.encode() <= newest.encode():
            continue
        number = number or turn.key()
        known[name] = (number, order)
        fresh[number] = (name, order)
        newer.append((one, number, newest is None))
    turn.connection.executemany(
        "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET newest = excluded.newest",
        ((number, name, order) for number, (name, order) in fresh.items()),
    )
    return newer


def _newest(turn: Turn, names: list[str]) -> dict[str, tuple[int, str | None]]:
    found: dict[str, tuple[int, str | None]] = {}
    wanted = list(dict.fromkeys(names))
    for start in range(0, len(wanted), _PER_LOOKUP):
        some = wanted[start : start + _PER_LOOKUP]
        marks = ",".join("?" * len(some))
        rows = turn.connection.execute(f"SELECT name, id, newest FROM documents WHERE name IN ({marks})", some)
        found.update((name, (number, newest)) for name, number, newest in rows)
    return found


def _write(turn: Turn, key: int, document: int, change: DocumentChange, *, first: bool) -> None:
    visible, valid = change.visible_from, _valid_from(change, first=first)
    if not first:
        turn.connection.execute(_CLOSE, (turn.seq, document, visible, valid))
    turn.connection.execute(
        "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key, document, turn.seq, change.deleted, change.document.startswith(CANARY), visible, FOREVER, valid, FOREVER,
            change.version, change.media, change.title, to_json(change.metadata),
        ),
    )  # fmt: skip
    if not change.deleted:
        turn.connection.execute("INSERT INTO texts VALUES (?, ?)", (key, change.text))
    if change.metadata:
        turn.connection.executemany(
            "INSERT INTO metadata VALUES (?, ?, ?, ?, ?)",
            ((key, name, *comparable(value)) for name, value in change.metadata.items()),
        )


def _valid_from(change: DocumentChange, *, first: bool) -> int:
    if change.valid_from_ms is not None:
        return change.valid_from_ms
    return SINCE_EVER if first else change.stream_ms


def _move_offsets(turn: Turn, batch: StoreBatch) -> None:
    turn.connection.executemany(
        "INSERT INTO offsets VALUES (?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
        ((topic, after) for topic, (_, after) in batch.offsets.items()),
    )


def _write_state(turn: Turn, batch: StoreBatch) -> None:
    for key, value in batch.state.items():
        if value is None:
            turn.connection.execute("DELETE FROM state WHERE key = ?", (key,))
        else:
            turn.connection.execute(
                "INSERT INTO state VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
            )
