"""Reads one file of text records forward, block by block, in bounded memory."""

from typing import Protocol

import numpy as np

from headrace.connectors.files.byte_stream import ByteStream
from headrace.connectors.files.piece import Piece, PieceMaker
from headrace.connectors.files.position import FileState
from headrace.connectors.records.typed_block import TypedBlock
from headrace.foundation.errors import CorruptDataError

BLOCK_BYTES = 4 << 20
_HEAD_BYTES = 64 << 10
_BOM = b"\xef\xbb\xbf"


class Parser(Protocol):
    """Parses a block of text into columns."""

    def parse(self, data: bytes, *, final: bool) -> TypedBlock: ...


class TextReader:
    """One file, from a given position."""

    def __init__(
        self, stream: ByteStream, parser: Parser, pieces: PieceMaker, state: FileState, *,
        final: bool, max_record_bytes: int, block_bytes: int = BLOCK_BYTES,
    ) -> None:  # fmt: skip
        """`stream` is at the state's offset. `final`: the file will not grow, so its last line needs no newline."""
        self._stream = stream
        self._parser = parser
        self._pieces = pieces
        self._offset = state.offset
        self._line = state.line
        self._final = final
        self._limit = max_record_bytes
        self._block_bytes = block_bytes
        self._data = b""
        self._skipped = 0
        self._head = b""
        self._ended = False

    @property
    def holds_data(self) -> bool:
        """Whether part of a record is in memory: closing now would mean rereading it."""
        return bool(self._data or self._skipped)

    def next(self) -> Piece | None:
        """The next records; None: nothing for now (or, if the file is final, at all)."""
        while not self._ended:
            try:
                chunk = self._stream.read(self._block_bytes)
            except CorruptDataError as error:
                return self._broken("corrupt_file", error.message)
            piece = self._skip(chunk) if self._skipped else self._parse(chunk)
            if piece is not None:
                return piece
            if not chunk:
                return self._at_end()
        return None

    def _parse(self, chunk: bytes) -> Piece | None:
        data = self._data + chunk
        if self._offset == 0 and data.startswith(_BOM):
            data, self._offset = data[3:], 3
        block = self._parser.parse(data, final=self._final and not chunk)
        self._data = data[block.consumed :]
        if not block.consumed and len(data) > self._limit:
            self._head, self._skipped, self._data = data[:_HEAD_BYTES], len(data), b""
        piece = self._piece(block, len(data)) if block.count else None
        self._offset += min(block.consumed, len(data))
        self._line += block.consumed_lines
        return piece

    def _piece(self, block: TypedBlock, size: int) -> Piece:
        """`size` of the data: a parser counts a newline after the last record, whether present or not."""
        return self._pieces.make(
            block.table, block.rejects, block.lines + self._line, np.minimum(block.ends, size) + self._offset,
            block.last_lines + self._line, block.raw,
        )  # fmt: skip

    def _skip(self, chunk: bytes) -> Piece | None:
        """Skips a record that is too long, up to its newline (or the end of a final file)."""
        newline = chunk.find(b"\n")
        if newline < 0 and (chunk or not self._final):
            self._skipped += len(chunk)
            return None
        size = self._skipped + newline + 1
        self._line, self._offset = self._line + 1, self._offset + size
        self._data, self._skipped = chunk[newline + 1 :], 0
        reason = f"the record has {size} bytes; the limit is {self._limit}"
        return self._pieces.fault("too_long", reason, self._line, self._offset, self._head)

    def _at_end(self) -> Piece | None:
        if not self._final:
            return None
        self._ended = True
        if self._stream.cut_short():
            return self._broken("truncated_file", "the gzip data is truncated; everything before that point was read")
        return None

    def _broken(self, code: str, reason: str) -> Piece:
        self._ended = True
        return self._pieces.fault(code, reason, self._line + 1, self._offset, self._data, ends_file=True)

    def close(self) -> None:
        self._stream.close()
