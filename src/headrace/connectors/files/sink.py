"""Writes records into files that appear once complete, each record exactly once despite kills."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from headrace.connectors.files.options import SinkOptions as Options
from headrace.connectors.records.inference import infer_json
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.sink import SinkOptions
from headrace.foundation.errors import CorruptDataError, DiskFullError, HeadraceError, UnavailableError
from headrace.foundation.failpoints import failpoint
from headrace.log.record import Record


def open_sink(options: SinkOptions) -> "FilesSink":
    """Opens a folder as a sink."""
    return FilesSink(options)


class _State(msgspec.Struct, frozen=True):
    """What is on disk according to a commit."""

    number: int = 1
    """Name of the file being written."""
    records: int = 0
    """Records in it."""
    size: int = 0
    """Bytes of JSON in it."""
    complete: tuple[int, ...] = ()
    """Complete files waiting for their names."""


class FilesSink:
    """See the port.

    The open file is a hidden `.NAME-NNNNNNNN.part` of JSON lines; a commit records its length, so a restart truncates what
    came after. A full file gets its name at `publish`; for Parquet, `prepare` creates it as `.NAME-NNNNNNNN.done`.
    Two processes must not share a folder and a name.
    """

    def __init__(self, options: SinkOptions) -> None:
        self._options = Options.model_validate(dict(options.options))
        self._folder = options.base_dir / self._options.path
        self._name = options.id.name
        self._suffix = "jsonl" if self._options.format == "json" else "parquet"
        self._state = _State()
        self._file: int | None = None

    @property
    def names_batches(self) -> bool:
        return False

    def recover(self, prepared: bytes | None) -> None:
        with _disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._restore(self._first() if prepared is None else msgspec.json.decode(prepared, type=_State))
            self.publish()

    def write(self, records: Sequence[Record]) -> None:
        before = self._state
        try:
            with _disk_errors(self._folder):
                self._append([outgoing_json(record, metadata=self._options.metadata) + b"\n" for record in records])
        except HeadraceError:
            with _disk_errors(self._folder):
                self._restore(before)
            raise

    def prepare(self, *, end: bool = False) -> bytes:
        with _disk_errors(self._folder):
            if end and self._state.records:
                self._roll()
            if self._file is not None:
                os.fsync(self._file)
            if self._options.format == "parquet":
                for number in self._state.complete:
                    self._convert(number)
            _sync_folder(self._folder)
        failpoint("sink.prepared")
        return msgspec.json.encode(self._state)

    def publish(self) -> None:
        with _disk_errors(self._folder):
            for number in self._state.complete:
                whole = self._hidden(number, "part" if self._options.format == "json" else "done")
                if whole.exists():
                    whole.rename(self._visible(number))
                failpoint("sink.renamed")
                self._hidden(number, "part").unlink(missing_ok=True)
            _sync_folder(self._folder)
        self._state = msgspec.structs.replace(self._state, complete=())

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, lines: Sequence[bytes]) -> None:
        """Writes lines, starting a new file whenever one is full."""
        at = 0
        while at < len(lines):
            stop = self._room(lines, at)
            data = b"".join(lines[at:stop])
            _write_all(self._open(), data)
            state = self._state
            self._state = msgspec.structs.replace(state, records=state.records + stop - at, size=state.size + len(data))
            at = stop
            if self._state.records >= self._options.roll_records or self._state.size >= self._options.roll_bytes:
                self._roll()

    def _room(self, lines: Sequence[bytes], start: int) -> int:
        """How many lines fit into the open file; at least one."""
        stop, size = start, self._state.size
        last = min(len(lines), start + self._options.roll_records - self._state.records)
        while stop < last:
            size += len(lines[stop])
            stop += 1
            if size >= self._options.roll_bytes:
                break
        return stop

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(
                self._hidden(self._state.number, "part"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
            )
        return self._file

    def _roll(self) -> None:
        """Closes the open file and syncs it to disk."""
        os.fsync(self._open())
        self.close()
        state = self._state
        self._state = _State(number=state.number + 1, complete=(*state.complete, state.number))

    def _convert(self, number: int) -> None:
        """Converts a complete file to Parquet, still hidden. Does nothing if already done."""
        part, done = self._hidden(number, "part"), self._hidden(number, "done")
        if done.exists() or not part.exists():
            return
        draft = self._hidden(number, "draft")
        _write_parquet(part, draft)
        draft.rename(done)

    def _first(self) -> _State:
        """Starts numbering after the files of an earlier run, so that none is overwritten."""
        taken = [path.stem.rpartition("-")[2] for path in self._folder.glob(f"{self._name}-*.{self._suffix}")]
        return _State(number=1 + max((int(digits) for digits in taken if digits.isdigit()), default=0))

    def _restore(self, state: _State) -> None:
        """Restores the folder to a state: deletes hidden files that the state does not name, and truncates the open one."""
        self.close()
        self._state = state
        named = {self._hidden(number, kind) for number in state.complete for kind in ("part", "done")}
        open_part = self._hidden(state.number, "part")
        for path in self._folder.glob(f".{self._name}-*.*"):
            if path not in named and path != open_part:
                path.unlink()
        if not state.records:
            open_part.unlink(missing_ok=True)
            return
        held = open_part.stat().st_size if open_part.exists() else 0
        if held < state.size:
            raise CorruptDataError(
                f"the file has {held} bytes, but the last commit recorded {state.size}", where=str(open_part),
                next_step="restore the folder from a backup, or apply the sink under a new name",
            )  # fmt: skip
        os.truncate(open_part, state.size)

    def _hidden(self, number: int, kind: str) -> Path:
        return self._folder / f".{self._name}-{number:08d}.{kind}"

    def _visible(self, number: int) -> Path:
        return self._folder / f"{self._name}-{number:08d}.{self._suffix}"


class _disk_errors:  # noqa: N801 -- reads as the statement it is
    """Turns what the operating system says into Headrace's errors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        where = str(self._folder)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "the disk is full", where=where, next_step="free some space; the sink then resumes on its own"
            ) from error
        raise UnavailableError(f"the folder cannot be written ({error.strerror or error})", where=where) from error


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _write_parquet(part: Path, target: Path) -> None:
    """JSON lines into Parquet, with the narrowest columns that hold every record of the file."""
    data = part.read_bytes()
    schema = infer_json(data.splitlines())
    if schema is None:
        raise CorruptDataError(
            "none of its records is a JSON object, so no Parquet file can be written", where=str(part)
        )
    block = JsonLines(schema, max_record_bytes=len(data)).parse(data, final=True)
    if block.rejects:
        raise CorruptDataError(f"record {block.rejects[0].index + 1}: {block.rejects[0].reason}", where=str(part))
    pq.write_table(block.table, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
