"""Markdown and plain text → documents."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, cast

import yaml

from headrace.connectors.documents.document import Document, UnreadableDocumentError

_FRONT = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_FRONT_LETTERS = 64 << 10
_HEADING = re.compile(r"^ {0,3}#[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$", re.MULTILINE)
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class _Loader(yaml.SafeLoader):
    """Rejects aliases: a few lines of them can expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def decoded(data: bytes) -> str:
    """Decodes UTF-8, or UTF-16 with a byte-order mark. UnreadableDocumentError: binary, invalid_utf8, empty."""
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding != "utf-16" and _CONTROL.search(data):
        raise UnreadableDocumentError("binary", "it is not text: it contains control characters")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableDocumentError("invalid_utf8", f"byte {error.start + 1} is not {encoding.upper()}") from error
    if not text.strip():
        raise UnreadableDocumentError("empty", "it is empty")
    return text


def read_plain(data: bytes, stem: str) -> Document:
    """A text titled with its file name."""
    return Document(stem, decoded(data), "plain")


def read_markdown(data: bytes, stem: str) -> Document:
    """A text with its front matter; titled by that, else by its first heading, else as its file."""
    text = decoded(data)
    fields, body = _front_matter(text)
    if not body.strip():
        raise UnreadableDocumentError("empty", "it has no text after its front matter")
    heading = _HEADING.search(body)
    given = fields.get("title")
    title = str(given) if given is not None else heading[1].strip() if heading else stem
    return Document(title, body, "markdown", fields)


def _front_matter(text: str) -> tuple[Mapping[str, object], str]:
    found = _FRONT.match(text, 0, _FRONT_LETTERS) if text.startswith("---") else None
    if found is None:
        return {}, text
    try:
        value = yaml.load(found[1], _Loader)  # noqa: S506 - a safe loader, made safer
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split()) or "it nests too deeply"
        raise UnreadableDocumentError(
            "malformed_front_matter", f"its front matter is not valid YAML: {reason}"
        ) from error
    if not isinstance(value, dict):
        return {}, text
    pairs = cast("dict[object, object]", value)
    return {str(name): _plain(one) for name, one in pairs.items()}, text[found.end() :]


def _plain(value: object) -> object:
    """As JSON can say it."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in cast("dict[object, object]", value).items()}
    if isinstance(value, (list, set, tuple)):
        return [_plain(one) for one in cast("list[object]", value)]
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    return str(value).encode(errors="replace").decode()
