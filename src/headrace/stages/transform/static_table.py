"""Static tables: read whole, with the rows that could not be read as dead letters of the stage that joins them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from headrace.connectors.registry import open_source
from headrace.connectors.source import SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import dead_record
from headrace.foundation.clock import Clock
from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.ids import derive_id
from headrace.log.topic_log import Append, Commit, Lease, StateKey, TopicLog
from headrace.streams.stream_engine import StaticTable

TABLE_ROWS = 1_000_000
_POLL_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class LoadedTable:
    """A table, and what of its source is no row of it."""

    table: StaticTable
    dead: Sequence[tuple[str, DeadLetter]] = ()
    """(record id, letter)"""


def load_table(
    name: str,
    options: SourceOptions,
    context: SourceContext,
    valid_from: str | None = None,
    max_rows: int | None = TABLE_ROWS,
) -> LoadedTable:
    """Reads a bounded source to its end. InvalidDeclarationError: too many rows, or neither rows nor declared columns."""
    source = open_source(options, context)
    source.open(None)
    tables, dead = list[pa.Table](), list[tuple[str, DeadLetter]]()
    try:
        while max_rows is None or sum(one.num_rows for one in tables) <= max_rows:
            batch = source.poll(_POLL_ROWS, 1.0)
            dead += batch.dead
            if batch.rows is not None:
                tables.append(batch.rows.table)
            if batch.end:
                if source.schema is None or not source.schema.columns:
                    raise InvalidDeclarationError(
                        f"the table {name} has no row from which to infer its columns",
                        next_step="declare its columns",
                    )
                empty = source.schema.to_arrow().empty_table()
                whole = pa.concat_tables(tables) if tables else empty
                return LoadedTable(StaticTable(name, whole, valid_from, options.key), dead)
    finally:
        source.close()
    raise InvalidDeclarationError(
        f"the table {name} has more than {max_rows} rows", next_step="join it as a stream instead"
    )


def table_notes(loaded: Sequence[LoadedTable]) -> tuple[str, ...]:
    """A sentence for each table that lacks rows."""
    return tuple(
        f"the table {one.table.name} lacks {len(one.dead)} row{'s' if len(one.dead) > 1 else ''} that could not be read; see the dead letters"
        for one in loaded
        if one.dead
    )


def write_table_letters(
    log: TopicLog, stage: str, topic: str, loaded: Sequence[LoadedTable], lease: Lease, clock: Clock
) -> None:
    """Writes the dead letters of tables once, however often the stage starts; a table whose bad rows are others writes again."""
    key = StateKey(stage, "tables")
    entry = log.state(stage, key.key).get(key.key)
    written = msgspec.json.decode(entry.value, type=dict[str, str]) if entry else {}
    present = {one.table.name: _digest(one) for one in loaded if one.dead}
    if present == written:
        return
    fresh = [one for one in loaded if one.dead and written.get(one.table.name) != present[one.table.name]]
    records = [
        dead_record(
            derive_id(stage, one.table.name, present[one.table.name], name),
            msgspec.structs.replace(letter, stage="transform"),
            clock.now_ms(),
        )
        for one in fresh
        for name, letter in one.dead
    ]
    appends = [Append(topic, records)] if records else []
    log.commit(Commit(appends, state={key: msgspec.json.encode(present)}, lease=lease))


def _digest(loaded: LoadedTable) -> str:
    """Of its bad rows."""
    digest = hashlib.blake2b(digest_size=16)
    for name, letter in loaded.dead:
        digest.update(f"{name}\0{letter.reason}\0{letter.payload}\0".encode())
    return digest.hexdigest()
