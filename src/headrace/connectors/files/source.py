"""The file source: bounded files (merged by event time if there are several), or a file or folder that is followed."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from headrace.connectors.files.discovery import Discovery, FoundFile
from headrace.connectors.files.opening import FileReader, Opener, infer_schema
from headrace.connectors.files.options import Options
from headrace.connectors.files.position import (
    FilesPosition,
    FileState,
    decode_position,
    difference,
    encode_position,
    remember,
)
from headrace.connectors.files.taking import Merged, OneByOne, Taken
from headrace.connectors.files.text_reader import BLOCK_BYTES
from headrace.connectors.records.dead_letters import dead_letter
from headrace.connectors.records.inference import UNKNOWN
from headrace.connectors.records.kernels import int64_array
from headrace.connectors.records.rows import RowMaker
from headrace.connectors.source import SourceBatch, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.schema import RowSchema
from headrace.foundation.errors import CorruptDataError, FinalError, UnavailableError, sentence

_LOOK_EVERY_SECONDS = 0.1
_READ_AHEAD_BYTES = 32 << 20
_SAMPLE_BYTES = 4 << 20


def open_source(options: SourceOptions, context: SourceContext) -> "FilesSource":
    """Opens files as a source; see `Options` for its settings."""
    return FilesSource(options, context)


class FilesSource:
    """See the port. A position is JSON: per file the bytes and lines read and the hash of its beginning.

    A file that shrank or was replaced is never silently reread: if it is the only file, `open` or `poll` raises
    FinalError; among several it is one dead letter, and the others continue. For a file that disappeared after it was read, or that
    may not be read, the source waits (UnavailableError).
    """

    def __init__(self, options: SourceOptions, context: SourceContext) -> None:
        self._options = Options.model_validate(dict(options.options))
        # A change event is identified by its position: all changes of a row share the row's id.
        self._source = options if self._options.envelope == "none" else replace(options, id_columns=())
        self._where = f"StreamConnector/{options.id.name}: spec.file.path"
        self._clock = context.clock
        self._schema = options.schema
        self._discovery = Discovery(options, self._options)
        self._position = FilesPosition()
        self._order: Merged | OneByOne | None = None
        self._opener: Opener | None = None
        self._files: dict[str, FoundFile] = {}
        self._sizes: dict[str, tuple[int, int, int]] = {}
        self._faults: list[tuple[str, DeadLetter]] = []
        self._next_step = (
            f"Restore the file, or read it from the beginning: `headrace reset StreamConnector/{options.id.name} "
            f"-n {options.id.namespace} --from source`."
        )

    @property
    def bounded(self) -> bool:
        return not self._options.follow

    @property
    def schema(self) -> RowSchema | None:
        return self._schema

    def open(self, position: bytes | None) -> None:
        self.close()
        self._position = decode_position(position)
        self._sizes.clear()
        self._faults.clear()
        with self._reachable():
            self._look()

    def poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        with self._reachable():
            return self._poll(max_rows, timeout_seconds)

    def _poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        deadline = self._clock.monotonic() + timeout_seconds
        while True:
            batch = self._take(max_rows)
            if batch is not None:
                return batch
            if not self._options.follow:
                self._check_all()
                return self._batch(None, self._take_faults(), end=True)
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return self._batch(None, [], waiting=True)
            self._clock.sleep(min(left, _LOOK_EVERY_SECONDS))
            self._look()

    def lag(self) -> int | None:
        """Bytes after the last row emitted; for gzipped files and Parquet, the sizes of those not started."""
        total = 0
        for file in self._files.values():
            read = self._position.files[file.name]
            size = _size(file)
            plain = file.format != "parquet" and not file.gzip
            total += max(0, size - read.offset) if plain else size * (read.offset == 0)
        return total

    def close(self) -> None:
        if self._order is not None:
            self._order.close()
            self._order = None

    @contextmanager
    def _reachable(self) -> Generator[None]:
        """System errors may be temporary: the stage retries from the last position."""
        try:
            yield
        except OSError as error:
            name = Path(error.filename).name if isinstance(error.filename, str) else self._options.path
            raise UnavailableError(
                f"{name} cannot be read: {error.strerror or error}",
                where=self._where,
                next_step="put it back or make it readable; reading resumes where it stopped",
            ) from error

    def _take(self, max_rows: int) -> SourceBatch | None:
        if self._faults:
            faults, self._faults = self._faults, []
            return self._batch(None, faults)
        taken = None if self._order is None else self._order.take(max_rows)
        if taken is None:
            return self._batch(None, self._take_faults()) if self._faults else None
        return self._batch(taken, self._take_faults())

    def _take_faults(self) -> list[tuple[str, DeadLetter]]:
        faults, self._faults = self._faults, []
        return faults

    def _batch(
        self, taken: Taken | None, faults: list[tuple[str, DeadLetter]], *, end: bool = False, waiting: bool = False
    ) -> SourceBatch:
        rows = None if taken is None else taken.rows
        if rows is not None:
            first = self._position.rows
            rows = replace(rows, offsets=int64_array(np.arange(first, first + rows.num_rows)))
            self._position.rows += rows.num_rows
        letters = [] if taken is None else [(letter.id, letter.letter) for letter in taken.letters]
        return SourceBatch(rows, [*faults, *letters], encode_position(self._position), end=end, waiting=waiting)

    def _look(self) -> None:
        """Finds files, checks known ones, and queues new data."""
        found = self._discovery.files(read_before=bool(self._position.files))
        self._files = {file.name: file for file in found}
        if self._opener is None and not self._prepare(found):
            return
        readable = [(file, state) for file in found if (state := self._check(file)) is not None]
        if self._order is None:
            self._order = self._arrange(readable)
        if isinstance(self._order, OneByOne):
            for file, state in readable:
                self._queue(self._order, file, state)

    def _prepare(self, found: list[FoundFile]) -> bool:
        """Determines the schema. False: no record to infer it from yet."""
        if self._schema is None:
            self._schema = infer_schema(found, self._options)
            held = max(map(_size, found), default=0)
            if self._schema is None and held > (_SAMPLE_BYTES if self._options.follow else 0):
                self._schema = UNKNOWN
        if self._schema is None:
            return False
        maker = RowMaker(self._source, self._schema, self._clock)
        block = max(64 << 10, min(BLOCK_BYTES, _READ_AHEAD_BYTES // max(1, len(found))))
        self._opener = Opener(self._options, self._source.id.name, maker, block_bytes=block)
        return True

    def _arrange(self, files: list[tuple[FoundFile, FileState]]) -> Merged | OneByOne:
        if self.bounded and len(files) > 1 and self._source.event_time.column is not None:
            return Merged(self._open, files)
        return OneByOne(self._open)

    def _queue(self, order: OneByOne, file: FoundFile, state: FileState) -> None:
        """Queues a file that is new or has changed since it was fully read."""
        stat = file.path.stat()
        seen = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        before = self._sizes.get(file.name)
        if before is not None and before[2] != stat.st_ino:
            order.drop(file.name)
        if before != seen:
            self._sizes[file.name] = seen
            order.add(file, state)

    def _check(self, file: FoundFile) -> FileState | None:
        """The file's state, or None if it is no longer the same file."""
        state = self._position.files.setdefault(file.name, FileState())
        changed = difference(file.path, state, plain=file.format != "parquet" and not file.gzip)
        if changed is None:
            remember(file.path, state)
            state.fault = ""
            return state
        if isinstance(self._order, OneByOne):
            self._order.drop(file.name)
            self._sizes.pop(file.name, None)
        self._report(file, state, "file_changed", changed)
        return None

    def _check_all(self) -> None:
        """At the end: a file that shrank during reading may have lost unseen records."""
        for file in self._files.values():
            if file.path.exists():
                self._check(file)

    def _report(self, file: FoundFile, state: FileState, code: str, reason: str) -> None:
        """Reports once that the rest of a file cannot be read."""
        if self._discovery.single:
            raise FinalError(f"{file.name}: {reason}", where=self._where, next_step=self._next_step)
        if state.fault == reason:
            return
        state.fault = reason
        source = f"{self._source.id.name}:{file.name}"
        text = f"{file.name}: {reason} — {sentence(self._next_step)}"
        self._faults.append(
            dead_letter(source=source, position=f"{state.line}!{code}", code=code, reason=text, raw=b"")
        )

    def _open(self, file: FoundFile) -> FileReader | None:
        assert self._opener is not None
        state = self._position.files[file.name]
        if state.ended:
            return None
        try:
            return self._opener.open(file, state)
        except CorruptDataError as error:
            state.ended = "corrupt_file"
            self._report(file, state, "corrupt_file", error.message)
        return None


def _size(file: FoundFile) -> int:
    """Bytes; 0 if it does not exist."""
    try:
        return file.path.stat().st_size
    except FileNotFoundError:
        return 0
