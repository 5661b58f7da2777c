"""A JSON lines file → documents, one per line."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from headrace.connectors.documents.document import UnreadableDocumentError
from headrace.connectors.records.dead_letters import UNREADABLE
from headrace.foundation.ids import escaped

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DEEPEST = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a document, or why it is not one."""

    number: int
    raw: bytes
    hash: str
    path: str = ""
    fields: dict[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])
    code: str = ""
    """Why it is not a document; '': it is one."""
    reason: str = ""


def read_lines(file: str, data: bytes) -> Iterator[Line]:
    r"""The non-empty lines. A document is named by its `path`, otherwise `FILE#ID`; in FILE, `\` precedes each `#` and `\`."""
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = raw.strip()
        if not line:
            continue
        digest = hashlib.blake2b(line, digest_size=16).hexdigest()
        path = ""
        try:
            fields = _fields(line)
            path = _path(file, fields)
            _require_text(fields)
            yield Line(number, line, digest, path, fields)
        except UnreadableDocumentError as error:
            yield Line(number, line, digest, path, code=error.code, reason=error.message)
        except Exception as error:  # noqa: BLE001 - one line must not stop the others
            yield Line(number, line, digest, path, code=UNREADABLE, reason=f"{type(error).__name__}: {error}")


def _fields(line: bytes) -> dict[str, msgspec.Raw]:
    try:
        line.decode()
        _refuse_depth(line)
        return _OBJECT.decode(line)
    except UnicodeDecodeError as error:
        raise UnreadableDocumentError("invalid_utf8", f"byte {error.start + 1} of the line is not UTF-8") from error
    except msgspec.ValidationError as error:
        raise UnreadableDocumentError("not_an_object", f"the line is not a JSON object ({error})") from error
    except msgspec.DecodeError as error:
        raise UnreadableDocumentError("malformed_json", str(error)) from error
    except RecursionError as error:
        raise UnreadableDocumentError("too_deep", "the line nests too deeply") from error


def _refuse_depth(line: bytes) -> None:
    """Deep nesting would break later readers of the row. Brackets inside strings count too, but never reach the limit."""
    if line.count(b"[") + line.count(b"{") <= _DEEPEST:
        return
    depth, quoted, escaped = 0, False, False
    for letter in line:
        if quoted:
            quoted = escaped or letter != 0x22
            escaped = letter == 0x5C and not escaped
        elif letter == 0x22:
            quoted = True
        elif letter in b"[{":
            depth += 1
            if depth > _DEEPEST:
                raise UnreadableDocumentError("too_deep", f"the line nests deeper than {_DEEPEST} levels")
        elif letter in b"]}":
            depth -= 1


def _path(file: str, fields: dict[str, msgspec.Raw]) -> str:
    own = _word(fields, "path")
    if own:
        return own
    number = _word(fields, "id")
    if not number:
        raise UnreadableDocumentError("missing_id", "it has neither a path nor an id")
    return f"{escaped(file, '#')}#{number}"


def _require_text(fields: dict[str, msgspec.Raw]) -> None:
    deletes = _word(fields, "operation").lower() in {"delete", "d", "remove", "tombstone"}
    if not deletes and not _word(fields, "body").strip():
        raise UnreadableDocumentError("missing_text", "it has no body")


def _word(fields: dict[str, msgspec.Raw], name: str) -> str:
    """A text, or a whole number as text; '' for anything else."""
    if name not in fields:
        return ""
    try:
        value = msgspec.json.decode(fields[name], type=str | int | None)
    except msgspec.DecodeError:
        return ""
    return "" if value is None else str(value)
