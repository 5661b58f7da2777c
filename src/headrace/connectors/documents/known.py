"""Which documents of a folder the topic has: the source's memory, committed with the rows that made it true."""

from collections.abc import Mapping

import msgspec

from headrace.connectors.documents.folder import FolderMark, Stamp
from headrace.foundation.errors import CorruptDataError
from headrace.foundation.ids import escaped, split_at

_FILE, _DOCUMENT, _FOLDER = "file/", "document/", "folder/"
_BETWEEN = "\n"
"""Between a file's name, in which it is escaped, and the name of a document in it."""


class KnownFile(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when it was last read."""

    stamp: Stamp
    hash: str
    """Of what was read last, good or bad; '' where it was not read."""
    given: str = ""
    """Of the content that the topic has of it as a document; '': none."""
    columns: bytes = b"{}"
    """What the topic has in the declared columns, as JSON: a deletion says it once more."""
    repeated: int = 0
    """Lines of it that a later line of the same document made void."""


class KnownDocument(msgspec.Struct, frozen=True, array_like=True):
    """A document that is one of many in a file."""

    file: str
    path: str
    """'': a line that holds no document, remembered so that it is told once."""
    hash: str
    """Of the line that the topic has; '': none."""
    refused: str = ""
    """Of the line that stands there now and holds no document."""
    columns: bytes = b"{}"
    """As of `KnownFile`."""

    @property
    def key(self) -> str:
        """Its name within the file."""
        return self.path or self.refused


class Known:
    """Files, their documents and their folders; every change of it is handed out as entries to commit."""

    def __init__(self, saved: Mapping[str, bytes]) -> None:
        """CorruptDataError where an entry is not what was written."""
        self.files: dict[str, KnownFile] = {}
        self.documents: dict[str, dict[str, KnownDocument]] = {}
        """By file, then by path, or by the hash of a line that is none."""
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
        """Takes the changes (keys of `file_key`, `document_key`, `folder_key`; None forgets) and returns them as entries."""
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
