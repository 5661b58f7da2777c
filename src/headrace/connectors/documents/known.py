"""Which documents of a folder are in the topic: the source's memory, committed with the rows it describes."""

from collections.abc import Mapping

import msgspec

from headrace.connectors.documents.folder import FolderMark, Stamp
from headrace.foundation.errors import CorruptDataError
from headrace.foundation.ids import escaped, split_at

_FILE, _DOCUMENT, _FOLDER = "file/", "document/", "folder/"
_BETWEEN = "\n"
"""Separates a file's (escaped) name from the name of a document inside it."""


class KnownFile(msgspec.Struct, frozen=True, array_like=True):
    """A file as last read."""

    stamp: Stamp
    hash: str
    """Hash of the content last read, good or bad; '' if it was not read."""
    given: str = ""
    """Hash of the content that the topic has as a document; '': none."""
    columns: bytes = b"{}"
    """The declared columns' values in the topic, as JSON: a deletion repeats them."""
    repeated: int = 0
    """Lines that a later line for the same document replaces."""


class KnownDocument(msgspec.Struct, frozen=True, array_like=True):
    """One of several documents in a file."""

    file: str
    path: str
    """'': a line that is not a document, remembered so that it is reported once."""
    hash: str
    """Hash of the line in the topic; '': none."""
    refused: str = ""
    """Hash of the current line, which is not a document."""
    columns: bytes = b"{}"
    """As in `KnownFile`."""

    @property
    def key(self) -> str:
        """Its name within the file."""
        return self.path or self.refused


class Known:
    """Files, their documents and their folders; returns every change as entries to commit."""

    def __init__(self, saved: Mapping[str, bytes]) -> None:
        """CorruptDataError if an entry is not what was written."""
        self.files: dict[str, KnownFile] = {}
        self.documents: dict[str, dict[str, KnownDocument]] = {}
        """By file, then by path; lines without a document by their hash."""
        self.folders: dict[str, FolderMark] = {}
        try:
            for key, value in saved.items():
                self._load(key, value)
        except msgspec.DecodeError as error:
            raise CorruptDataError(f"the documents folder's state does not parse: {error}") from error

    def _load(self, key: str, value: bytes) -> None:
        if key.startswith(_FILE):
            self.files[key.removeprefix(_FILE)] = msgspec.msgpack.decode(value, type=KnownFile)
        elif key.startswith(_FOLDER):
            self.folders[key.removeprefix(_FOLDER)] = msgspec.msgpack.decode(value, type=FolderMark)
        elif key.startswith(_DOCUMENT):
            one = msgspec.msgpack.decode(value, type=KnownDocument)
            self.documents.setdefault(one.file, {})[one.key] = one

    def put(self, changes: Mapping[str, KnownFile | KnownDocument | FolderMark | None]) -> dict[str, bytes | None]:
        """Applies the changes (keys from `file_key`, `document_key`, `folder_key`; None forgets) and returns them as entries."""
        entries: dict[str, bytes | None] = {}
        for key, value in changes.items():
            entries[key] = None if value is None else msgspec.msgpack.encode(value)
            if isinstance(value, KnownFile):
                self.files[key.removeprefix(_FILE)] = value
            elif isinstance(value, FolderMark):
                self.folders[key.removeprefix(_FOLDER)] = value
            elif isinstance(value, KnownDocument):
                self.documents.setdefault(value.file, {})[value.key] = value
            else:
                self._forget(key)
        return entries

    def _forget(self, key: str) -> None:
        if key.startswith(_FILE):
            self.files.pop(key.removeprefix(_FILE), None)
        elif key.startswith(_FOLDER):
            self.folders.pop(key.removeprefix(_FOLDER), None)
        else:
            file, path = split_at(key.removeprefix(_DOCUMENT), _BETWEEN)
            self.documents.get(file, {}).pop(path, None)


def file_key(name: str) -> str:
    return _FILE + name


def document_key(file: str, path_or_hash: str) -> str:
    return f"{_DOCUMENT}{escaped(file, _BETWEEN)}{_BETWEEN}{path_or_hash}"


def folder_key(name: str) -> str:
    return _FOLDER + name
