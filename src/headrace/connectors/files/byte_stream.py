"""A file's bytes from an offset on, plain or gzipped."""

import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

from headrace.foundation.errors import CorruptDataError

_FEED_BYTES = 256 << 10


class ByteStream(Protocol):
    """Reads forward. A read at the end may return more once the file has grown."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. CorruptDataError."""
        ...

    def cut_short(self) -> bool:
        """At the end: the compressed data is truncated."""
        ...

    def close(self) -> None: ...


class PlainStream:
    """A plain file."""

    def __init__(self, path: Path, offset: int) -> None:
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._file.seek(offset)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def cut_short(self) -> bool:
        return False

    def close(self) -> None:
        self._file.close()


class GzipStream:
    """A gzipped file with one or several members; offsets count uncompressed bytes."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""
        self._begun = False
        while offset > 0 and (skipped := self.read(min(offset, 4 << 20))):
            offset -= len(skipped)

    def read(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            self._pending = self._pending or self._file.read(_FEED_BYTES)
            if not self._pending:
                break
            out += self._inflated(size - len(out))
        return bytes(out)

    def _inflated(self, size: int) -> bytes:
        if self._inflate.eof:
            self._pending = self._pending.lstrip(b"\0")
            if not self._pending:
                return b""
            self._inflate = zlib.decompressobj(wbits=31)
        self._begun = True
        try:
            out = self._inflate.decompress(self._pending, size)
        except zlib.error as error:
            raise CorruptDataError(f"the gzip data is damaged ({error})", where=str(self._path)) from error
        self._pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return out

    def cut_short(self) -> bool:
        return self._begun and not self._inflate.eof

    def close(self) -> None:
        self._file.close()
