"""The source of a folder of documents."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from headrace.connectors.documents.extraction import Extraction
from headrace.connectors.documents.folder import (
    FolderMark,
    Look,
    Stamp,
    folders_above,
    is_held,
    look_through,
    out_of_reach,
)
from headrace.connectors.documents.known import Known, folder_key
from headrace.connectors.documents.options import Options, bytes_of
from headrace.connectors.documents.reading import BASE_COLUMNS, Change, Reading
from headrace.connectors.records.dead_letters import dead_letter
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.rows import Arrivals, RowMaker
from headrace.connectors.source import SourceBatch, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.origin import Origin, encode_origin
from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema, arrow_type
from headrace.foundation.errors import InvalidDeclarationError, NotFoundError, UnavailableError
from headrace.foundation.quantities import parse_duration_ms

_MOST_BYTES = 16 << 20
"""A batch ends once its documents together are larger than this."""

_REST = 3
"""After a slow scan of a large folder, wait at least this many times the scan's duration."""


class _Position(msgspec.Struct, frozen=True):
    """Rows and dead letters emitted so far; the state says for which documents."""

    given: int = 0


def open_source(options: SourceOptions, context: SourceContext) -> "DocumentsSource":
    """Opens a folder as a source; see `Options` for its settings."""
    return DocumentsSource(options, context)


def columns_of(declared: RowSchema | None, where: str) -> RowSchema:
    """Every document's columns followed by the declared ones. InvalidDeclarationError if they conflict."""
    columns = [Column(name, kind) for name, kind in BASE_COLUMNS.items()]
    for column in declared.columns if declared else ():
        kind = BASE_COLUMNS.get(column.name)
        if kind is None:
            columns.append(column)
        elif arrow_type(column.type) != arrow_type(kind):
            raise InvalidDeclarationError(
                f"the documents column {column.name} has type {kind}, not {column.type}", where=f"{where}: spec.schema",
                next_step="remove it, or rename your column",
            )  # fmt: skip
    return RowSchema(tuple(columns))


class DocumentsSource:
    """See the port. The known documents travel as `SourceBatch.state`; the position counts rows and dead letters.

    A row's id is `NAME:PATH@COUNT`, whatever `id` declares: a document has many rows. The next scan finds uncommitted changes again,
    under the same counts. Without a declared key, the key is the path.
    """

    def __init__(self, options: SourceOptions, context: SourceContext) -> None:
        self._source, self._context, self._clock = options, context, context.clock
        self._where = f"StreamConnector/{options.id.name}"
        self._options = Options.model_validate(dict(options.options))
        self._root = options.base_dir / self._options.path
        self._schema = columns_of(options.schema, self._where)
        max_bytes = bytes_of(self._options.max_bytes)
        self._extraction = Extraction(
            timeout_seconds=parse_duration_ms(self._options.timeout) / 1000, max_pages=self._options.max_pages,
            max_letters=max_bytes,
        )  # fmt: skip
        keyed = replace(options, id_columns=(), key=options.key or ("path",))
        self._maker = RowMaker(keyed, self._schema, self._clock)
        self._parser = JsonLines(self._schema, max_bytes * 8 + (1 << 20))
        self._max_bytes = max_bytes
        self._interval = parse_duration_ms(self._options.poll_interval) / 1000
        self._start({}, 0)

    def _start(self, saved: Mapping[str, bytes], given: int) -> None:
        self._given = given
        self._known = Known(saved)
        columns = frozenset(self._schema.names) - BASE_COLUMNS.keys()
        self._reading = Reading(
            self._known, self._extraction, self._clock, max_bytes=self._max_bytes, columns=columns
        )  # fmt: skip
        self._due: deque[str] = deque()
        self._changes: deque[Change] = deque()
        self._look: Look | None = None
        self._stamps: dict[str, Stamp] = {}
        self._held: dict[str, str] = {}
        self._next_look = self._clock.monotonic()

    @property
    def bounded(self) -> bool:
        return not self._options.follow

    @property
    def schema(self) -> RowSchema | None:
        return self._schema

    def open(self, position: bytes | None) -> None:
        """NotFoundError if nothing was ever read and the folder does not exist."""
        given = 0 if position is None else msgspec.json.decode(position, type=_Position).given
        self._start({} if position is None else self._context.saved(), given)
        if not self._known.folders and not self._root.is_dir():
            raise NotFoundError(
                f"the folder {self._options.path} does not exist", where=f"{self._where}: spec.documents.path",
                next_step="create it, or give a folder's path relative to the YAML file",
            )  # fmt: skip

    def poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        deadline = self._clock.monotonic() + timeout_seconds
        while True:
            if not self._changes and not self._due and self._is_time_to_look():
                self._walk()
            batch = self._take(max_rows)
            if batch is not None:
                return batch
            if not self._options.follow and self._look is not None and not self._held:
                return SourceBatch(None, (), self._position(), end=True)
            left = deadline - self._clock.monotonic()
            if left <= 0 and self._held:
                raise self._away()
            if left <= 0:
                return SourceBatch(None, (), self._position(), waiting=True)
            self._clock.sleep(min(left, max(0.0, self._next_look - self._clock.monotonic())) or left)

    def lag(self) -> int | None:
        """Changed files not yet read."""
        return len(self._due) + bool(self._changes)

    def close(self) -> None:
        self._extraction.close()

    # -- scanning

    def _is_time_to_look(self) -> bool:
        if not self._options.follow and self._look is not None and not self._held:
            return False
        return self._clock.monotonic() >= self._next_look

    def _walk(self) -> None:
        """Finds new, changed and deleted files."""
        began = self._clock.monotonic()
        try:
            look = look_through(self._root, self._options.glob)
        except OSError as error:
            self._held = {"": error.strerror or str(error)}
            return
        finally:
            now = self._clock.monotonic()
            self._next_look = now + max(self._interval, _REST * (now - began))
        self._look = look
        self._held = out_of_reach(look, self._known.folders)
        changed = [name for name, seen in look.files.items() if self._has_changed(name, seen.stamp)]
        settled = {name for name in changed if self._is_settled(name, look.files[name].stamp)}
        self._stamps = {name: look.files[name].stamp for name in changed}
        gone = [name for name in self._known.files if name not in look.files and not is_held(name, self._held)]
        self._due = deque(sorted(settled.union(gone)))
        marks = self._marks(look)
        if marks:
            self._changes.append(Change("", marks))

    def _has_changed(self, name: str, stamp: Stamp) -> bool:
        known = self._known.files.get(name)
        return (known is None or known.stamp != stamp) and not is_held(name, self._held)

    def _is_settled(self, name: str, stamp: Stamp) -> bool:
        """Whether the file has been unchanged for one scan interval. A folder read once is read as is."""
        quiet_ms = self._clock.now_ms() - stamp.modified_ns // 1_000_000
        return not self._options.follow or quiet_ms >= self._interval * 1000 or self._stamps.get(name) == stamp

    def _marks(self, look: Look) -> dict[str, FolderMark | None]:
        """Which folders to start or stop remembering as having documents."""
        holding = {above for name in look.files for above in folders_above(name)} | {""}
        now = {name: mark for name, mark in look.folders.items() if name in holding and name not in look.empty}
        marks: dict[str, FolderMark | None] = {
            folder_key(name): mark for name, mark in now.items() if self._known.folders.get(name) != mark
        }
        gone = [name for name in self._known.folders if name and name not in now and not is_held(name, self._held)]
        return marks | dict.fromkeys(map(folder_key, gone))

    def _away(self) -> UnavailableError:
        name, why = min(self._held.items())
        return UnavailableError(
            f"{self._options.path}{'/' + name if name else ''} cannot be reached: {why}; its documents are kept as they are",
            where=f"{self._where}: spec.documents.path",
            next_step="mount it again; to delete its documents, put another document into the folder or remove the folder",
        )

    # -- emitting

    def _take(self, max_rows: int) -> SourceBatch | None:
        """The next changes: at most `max_rows` rows and dead letters."""
        taken: list[Change] = []
        count = size = 0
        while count < max_rows and size < _MOST_BYTES:
            if not self._changes and not self._read_next():
                break
            if not self._changes:
                continue
            change = self._changes.popleft()
            taken.append(change)
            count += change.gives
            size += len(msgspec.json.encode(change.values)) if change.values is not None else 0
        return self._batch(taken) if taken else None

    def _read_next(self) -> bool:
        """Reads the next pending file. False: there is none."""
        if not self._due:
            return False
        name = self._due.popleft()
        assert self._look is not None
        seen = self._look.files.get(name)
        if seen is None:
            self._changes.extend(self._reading.deletion(name))
            return True
        try:
            changes = self._reading.changes(name, seen)
        except FileNotFoundError:
            changes = None
        except OSError as error:
            self._held[name] = error.strerror or str(error)
            return True
        if changes is not None:
            self._changes.extend(changes)
        elif not self._options.follow:
            self._look = None  # the file changed since the scan, so the folder is not fully read
        return True

    def _batch(self, taken: Sequence[Change]) -> SourceBatch:
        numbers = dict(zip((id(one) for one in taken if one.gives), range(self._given, 1 << 62), strict=False))
        given = [one for one in taken if one.values is not None]
        rows, faults = self._rows(given, numbers)
        state: dict[str, bytes | None] = {}
        dead: list[tuple[str, DeadLetter]] = []
        for change in taken:
            code, reason = faults.get(id(change), (change.code, change.reason))
            if code:
                dead.append(self._letter(change, numbers[id(change)], code, reason))
            state |= self._known.put(change.refused if id(change) in faults else change.accepted)
        self._given += len(numbers)
        duplicates = sum(change.duplicates for change in taken)
        return SourceBatch(rows, dead, self._position(), duplicates=duplicates, state=state)

    def _rows(
        self, given: Sequence[Change], numbers: Mapping[int, int]
    ) -> tuple[RowBatch | None, dict[int, tuple[str, str]]]:
        """The rows that fit their columns, and why the others do not, by the identity of their change."""
        if not given:
            return None, {}
        block = self._parser.parse(b"\n".join(msgspec.json.encode(one.values) for one in given), final=True)
        faults = {id(given[reject.index]): (reject.code, reject.reason) for reject in block.rejects}
        good = [one for one in given if id(one) not in faults]
        places = np.array([numbers[id(one)] for one in good], np.int64)
        ids = [f"{self._source.id.name}:{_path(one)}@{numbers[id(one)]}" for one in good]
        rows, refused = self._maker.make(block.table, Arrivals("", places, ids=pa.array(ids, pa.string())))
        faults |= {id(good[reject.index]): (reject.code, reject.reason) for reject in refused}
        kept = int64_numpy(rows.offsets)
        origins = [self._origin(good[index], int(places[index])) for index in kept.tolist()]
        placed = replace(rows, origins=pa.array(origins, pa.string()), offsets=int64_array(places[kept]))
        return placed if placed.num_rows else None, faults

    def _origin(self, change: Change, number: int) -> str:
        return encode_origin(Origin(source=f"{self._source.id.name}:{change.file}", position=str(number)))

    def _letter(self, change: Change, number: int, code: str, reason: str) -> tuple[str, DeadLetter]:
        return dead_letter(
            source=f"{self._source.id.name}:{change.file}", position=str(number), code=code,
            reason=f"{change.file}: {reason}", raw=change.raw,
        )  # fmt: skip

    def _position(self) -> bytes:
        return msgspec.json.encode(_Position(self._given))


def _path(change: Change) -> str:
    assert change.values is not None
    return str(change.values["path"])
