"""Changed files → changes of documents."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import msgspec

from headrace.connectors.documents.document import Document, UnreadableDocumentError
from headrace.connectors.documents.extraction import Extraction
from headrace.connectors.documents.folder import FolderMark, SeenFile, Stamp
from headrace.connectors.documents.known import Known, KnownDocument, KnownFile, document_key, file_key
from headrace.connectors.documents.lines import Line, read_lines
from headrace.connectors.documents.text_files import read_markdown, read_plain
from headrace.connectors.records.dead_letters import UNREADABLE
from headrace.foundation.clock import Clock
from headrace.foundation.errors import HeadraceError

Entries = Mapping[str, KnownFile | KnownDocument | FolderMark | None]
BASE_COLUMNS = {
    "path": "STRING", "title": "STRING", "body": "STRING", "operation": "STRING", "modified_at": "TIMESTAMP_LTZ(3)",
    "media": "STRING",
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_BYTES = 64 << 10
_LONG_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """A row to emit, or a dead letter, or neither; and what is known once it is committed."""

    file: str
    accepted: Entries
    refused: Entries = field(default_factory=dict[str, "KnownFile | KnownDocument | FolderMark | None"])
    """What is known if the row does not fit its columns."""
    values: Mapping[str, object] | None = None
    code: str = ""
    reason: str = ""
    raw: bytes = b""
    duplicates: int = 0
    """New lines that were skipped because a later line is for the same document."""

    @property
    def gives(self) -> bool:
        """Whether it is a row or a dead letter."""
        return self.values is not None or bool(self.code)


class Reading:
    """Reads one source's files."""

    def __init__(
        self, known: Known, extraction: Extraction, clock: Clock, *, max_bytes: int, columns: frozenset[str]
    ) -> None:
        """`columns`: those beyond the ones that every document has."""
        self._known, self._extraction, self._clock = known, extraction, clock
        self._max_bytes, self._columns = max_bytes, columns

    def changes(self, name: str, seen: SeenFile) -> list[Change] | None:
        """A file's changes. None: it is being written; retry later. FileNotFoundError, OSError."""
        known = self._known.files.get(name)
        before = known or KnownFile(seen.stamp, "")
        if seen.stamp.size > self._max_bytes:
            entry = msgspec.structs.replace(before, stamp=seen.stamp, hash="")
            return [
                self._letter(
                    name, entry, "too_long", f"it has {seen.stamp.size} bytes; the limit is {self._max_bytes}", b""
                )
            ]
        with seen.path.open("rb") as file:
            data = file.read(self._max_bytes + 1)
        if Stamp.of(seen.path.stat()) != seen.stamp or len(data) != seen.stamp.size:
            return None
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        entry = msgspec.structs.replace(before, stamp=seen.stamp, hash=digest)
        if known is not None and known.hash == digest:
            return [Change(name, {file_key(name): entry})]
        if seen.kind == "lines":
            return self._lines(name, data, entry)
        return [self._one(name, seen, data, entry)]

    def deletion(self, name: str) -> list[Change]:
        """The changes of a deleted file's documents."""
        known = self._known.files[name]
        gone = [self._delete(one) for one in self._documents(name).values()]
        if known.given:
            return [*gone, Change(name, {file_key(name): None}, values=self._tombstone(name, known.columns))]
        return [*gone, Change(name, {file_key(name): None})]

    # -- one document per file

    def _one(self, name: str, seen: SeenFile, data: bytes, entry: KnownFile) -> Change:
        if entry.hash == entry.given:
            return Change(name, {file_key(name): entry})
        try:
            return self._document(name, seen, data, entry)
        except UnreadableDocumentError as error:
            return self._letter(name, entry, error.code, error.message, data)
        except (HeadraceError, OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - one document must not stop the others
            return self._letter(name, entry, UNREADABLE, f"{type(error).__name__}: {error}", data)

    def _document(self, name: str, seen: SeenFile, data: bytes, entry: KnownFile) -> Change:
        document = self._read(name, seen.kind, data)
        own = _own(document.fields, self._columns)
        values: dict[str, object] = {
            **own,
            "path": name, "title": document.title, "body": document.body, "operation": "upsert",
            "modified_at": _moment(seen.stamp.modified_ns // 1_000_000), "media": document.media,
        }  # fmt: skip
        msgspec.json.encode(values)  # raises on invalid text, such as a lone surrogate
        accepted = KnownFile(entry.stamp, entry.hash, entry.hash, _remembered(own))
        return Change(name, {file_key(name): accepted}, {file_key(name): entry}, values, raw=data[:_SHOWN_BYTES])

    def _read(self, name: str, kind: str, data: bytes) -> Document:
        if kind == "nameless":
            raise UnreadableDocumentError("invalid_name", "the file's name is not UTF-8")
        if not data.strip():
            raise UnreadableDocumentError("empty", "it is empty")
        stem = PurePosixPath(name).stem
        match kind:
            case "markdown":
                return read_markdown(data, stem)
            case "html" | "pdf":
                return self._extraction.read(kind, data, stem)
            case _:
                return read_plain(data, stem)

    def _letter(self, name: str, entry: KnownFile, code: str, reason: str, raw: bytes) -> Change:
        entries = {file_key(name): entry}
        return Change(name, entries, entries, None, code, reason, raw[:_SHOWN_BYTES])

    # -- many documents per file

    def _documents(self, name: str) -> dict[str, KnownDocument]:
        return self._known.documents.get(name, {})

    def _lines(self, name: str, data: bytes, entry: KnownFile) -> list[Change]:
        """Upserts for new lines, deletes for documents that no line contains any more. If several lines are for one document, the last
        counts and the others are duplicates.

        While any line is unreadable, its document is unknown, so nothing in the file is deleted.
        """
        known = self._documents(name)
        found = list(read_lines(name, data))
        lines = {line.path or line.hash: line for line in found}
        repeated = len(found) - len(lines)
        if not lines:
            return [self._letter(name, entry, "empty", "it is empty", data)]
        changes = [
            self._line(name, key, line, entry) for key, line in lines.items() if self._is_new(known.get(key), line)
        ]
        nameless = any(not line.path for line in lines.values())
        for key, one in known.items():
            if key not in lines and not (nameless and one.path):
                changes.append(self._delete(one))
        fresh = max(0, repeated - entry.repeated)
        entry = msgspec.structs.replace(entry, repeated=repeated)
        return [*changes, Change(name, {file_key(name): entry}, duplicates=fresh)]

    def _is_new(self, known: KnownDocument | None, line: Line) -> bool:
        return known is None or line.hash not in (known.hash, known.refused)

    def _line(self, name: str, key: str, line: Line, entry: KnownFile) -> Change:
        before = self._documents(name).get(key)
        given, columns = (before.hash, before.columns) if before else ("", b"{}")
        told = {document_key(name, key): KnownDocument(name, line.path, given, line.hash, columns)}
        if line.code:
            return Change(
                name, told, told, None, line.code, f"line {line.number}: {line.reason}", line.raw[:_SHOWN_BYTES]
            )
        own = {column: line.fields[column] for column in sorted(self._columns & line.fields.keys())}
        usual = {column: line.fields[column] for column in BASE_COLUMNS.keys() & line.fields.keys()}
        values: dict[str, object] = {
            "operation": "upsert", "media": "markdown", "modified_at": _moment(entry.stamp.modified_ns // 1_000_000),
            **own, **usual, "path": line.path,
        }  # fmt: skip
        accepted = {document_key(name, key): KnownDocument(name, line.path, line.hash, columns=_remembered(own))}
        return Change(name, accepted, told, values, raw=line.raw[:_SHOWN_BYTES])

    def _delete(self, one: KnownDocument) -> Change:
        """A line that never was a document is only forgotten."""
        values = self._tombstone(one.path, one.columns) if one.path and one.hash else None
        return Change(one.file, {document_key(one.file, one.key): None}, values=values)

    def _tombstone(self, path: str, columns: bytes) -> dict[str, object]:
        own = {"path": path, "operation": "delete", "modified_at": _moment(self._clock.now_ms())}
        return {**msgspec.json.decode(columns, type=dict[str, msgspec.Raw]), **own}


def _own(fields: Mapping[str, object], columns: frozenset[str]) -> dict[str, object]:
    """The document's values for the declared columns; HTML and PDF metadata have the lowest priority."""
    found = {column: fields.get(column, fields.get(column.lower())) for column in sorted(columns)}
    return {column: value for column, value in found.items() if value is not None}


def _remembered(columns: Mapping[str, object]) -> bytes:
    """As JSON, without long values: those are neither versions nor filters."""
    encoded = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in columns.items()}
    return msgspec.json.encode({name: raw for name, raw in encoded.items() if len(bytes(raw)) <= _LONG_BYTES})


def _moment(ms: int) -> str:
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    except OverflowError:
        return _EPOCH.isoformat(timespec="milliseconds")
