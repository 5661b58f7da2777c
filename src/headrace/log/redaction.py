"""Redacted records: their content is gone, their position stays."""

import hashlib
from dataclasses import dataclass

from headrace.log.record import Record

REDACTED_KIND = "redacted/1"
"""The kind of a redacted record. Its value, key and origin are empty, and its id is `redacted_id` of the former one."""
_PREFIX = "redacted:"
_DIGEST_BYTES = 16


def id_digest(record_id: str) -> bytes:
    """What indexes store instead of an id: 16 bytes. A redacted id has the digest of the id it replaced."""
    if record_id.startswith(_PREFIX):
        try:
            found = bytes.fromhex(record_id.removeprefix(_PREFIX))
        except ValueError:
            found = b""
        if len(found) == _DIGEST_BYTES:
            return found
    return hashlib.blake2b(record_id.encode(), digest_size=_DIGEST_BYTES).digest()


def redacted_id(record_id: str) -> str:
    """Replaces the id of a redacted record: topics with unique ids still refuse the original id."""
    return _PREFIX + id_digest(record_id).hex()


def record_digest(record: Record) -> str:
    """SHA-256 over the record's content: id, kind, key, origin, value, event time."""
    digest = hashlib.sha256()
    for text in (record.id, record.kind, record.key, record.origin, str(record.event_time)):
        part = text.encode()
        digest.update(len(part).to_bytes(8) + part)
    digest.update(record.value)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class RedactedRecord:
    """One record, with its SHA-256 (`record_digest`) before and after redaction."""

    topic: str
    partition: int
    offset: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RedactionReport:
    """The records found and redacted. Records that an earlier call redacted are not included."""

    records: tuple[RedactedRecord, ...]
