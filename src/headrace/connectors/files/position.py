"""The position of a file source: how much of each file was read, and how to recognise the file."""

import hashlib
from pathlib import Path

import msgspec

PREFIX_BYTES = 4096
BEGINNING = -(2**63)


class FileState(msgspec.Struct, omit_defaults=True):
    """One file."""

    offset: int = 0
    """Bytes read (uncompressed), or Parquet rows."""
    line: int = 0
    """Lines read, or Parquet rows."""
    high: int = BEGINNING
    """Largest event time read, ms since 1970 UTC: the merge key."""
    prefix_bytes: int = 0
    """The file's first bytes …"""
    prefix_hash: str = ""
    """… and their hash: a different hash means a different file."""
    fault: str = ""
    """What changed unexpectedly; reported once."""
    ended: str = ""
    """Why the rest of it cannot be read."""


class FilesPosition(msgspec.Struct, omit_defaults=True):
    """The position of the whole source."""

    files: dict[str, FileState] = {}
    rows: int = 0
    """Rows emitted so far."""


def encode_position(position: FilesPosition) -> bytes:
    return msgspec.json.encode(position)


def decode_position(data: bytes | None) -> FilesPosition:
    return FilesPosition() if data is None else msgspec.json.decode(data, type=FilesPosition)


def remember(path: Path, state: FileState) -> None:
    """Records the hash of the file's beginning, as far as it exists, once it is longer than the one recorded before."""
    if state.prefix_bytes >= PREFIX_BYTES:
        return
    with path.open("rb") as file:
        head = file.read(PREFIX_BYTES)
    if len(head) > state.prefix_bytes:
        state.prefix_bytes, state.prefix_hash = len(head), _hash(head)


def difference(path: Path, state: FileState, *, plain: bool) -> str | None:
    """What changed since the state was recorded; None: the same file, perhaps longer.

    `plain`: offsets are bytes of the file itself.
    """
    with path.open("rb") as file:
        head = file.read(state.prefix_bytes)
    size = path.stat().st_size
    if plain and size < state.offset:
        return f"it was read up to byte {state.offset} but now has only {size} bytes"
    if len(head) < state.prefix_bytes:
        return f"it had at least {state.prefix_bytes} bytes but now has only {size}"
    if state.prefix_bytes and _hash(head) != state.prefix_hash:
        return "it was replaced by another file of the same name"
    return None


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
