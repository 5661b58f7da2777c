"""YAML text → trees with places, bounded in size, depth and expansion.

Scalars are read by the core schema of YAML 1.2 (`yes`, `12:30` and `2024-02-01` stay text), tags are refused, duplicate
keys are mistakes. libyaml gives the events; the tree is built here, so that nothing is ever constructed from a tag.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import yaml

from headrace.kinds.document import Document, Entry, Node, Place, Scalar
from headrace.kinds.mistake import Mistake

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 64
MAX_NODES = 200_000
"""Of one document, aliases written out."""

_PAIR = re.compile(r"(?<!\\)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Wrong(Exception):  # noqa: N818 - carries a place to the top of this file, never leaves it
    def __init__(self, message: str, mark: yaml.Mark | None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.mark, self.hint = message, mark, hint


def parse(text: str, file: str, base_dir: str = ".") -> tuple[list[Document], list[Mistake]]:
    """All documents of a text; what comes after a syntax error is not read."""
    mistakes: list[Mistake] = []
    documents: list[Document] = []
    try:
        for root in _roots(_without_pairs(text), file, mistakes):
            documents.append(Document(file, root, base_dir, len(documents)))
    except yaml.MarkedYAMLError as error:
        problem = " ".join(part for part in (error.context, error.problem) if part) or "it does not parse"
        mistakes.append(_mistake(file, error.problem_mark, f"not YAML: {problem}"))
    except yaml.YAMLError as error:
        mistakes.append(_mistake(file, None, f"not YAML: {error}"))
    except _Wrong as error:
        mistakes.append(_mistake(file, error.mark, error.message, error.hint))
    return documents, mistakes


def _without_pairs(text: str) -> str:
    """JSON writes some characters as two escapes, which YAML does not know."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    return _PAIR.sub(
        lambda match: chr(0x10000 + ((int(match[1], 16) & 0x3FF) << 10) + (int(match[2], 16) & 0x3FF)), text
    )


def _roots(text: str, file: str, mistakes: list[Mistake]) -> Iterator[Node]:
    events = cast("Iterator[yaml.Event]", yaml.parse(text, Loader=_LOADER))
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            root = _Builder(file, mistakes).node(events, next(events), depth=0)
            if root.value is not None:
                yield root


@dataclass(slots=True)
class _Builder:
    """The tree of one document."""

    file: str
    mistakes: list[Mistake]
    anchors: dict[str, Node | None] = field(default_factory=dict[str, Node | None])
    nodes: int = 0

    def node(self, events: Iterator[yaml.Event], event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _Wrong(f"nested more than {MAX_DEPTH} deep", event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._count(self._alias(event), event)
        assert isinstance(event, yaml.NodeEvent)
        tag = getattr(event, "tag", None)
        if tag and not (tag == "!" or tag in _PLAIN_TAGS):
            raise _Wrong(f"the tag {tag} is not allowed", event.start_mark, "Write the plain value.")
        if event.anchor:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._count(_scalar(event), event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(events, event, depth)
        else:
            node = self._mapping(events, event, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _count(self, node: Node, event: yaml.Event) -> Node:
        self.nodes += node.size
        if self.nodes > MAX_NODES:
            raise _Wrong(f"more than {MAX_NODES} values, aliases written out", event.start_mark)
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        target = self.anchors.get(event.anchor)
        if event.anchor not in self.anchors:
            raise _Wrong(f"the anchor &{event.anchor} is not defined above", event.start_mark)
        if target is None:
            raise _Wrong(f"*{event.anchor} refers to itself", event.start_mark)
        return target

    def _sequence(self, events: Iterator[yaml.Event], start: yaml.Event, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.node(events, event, depth + 1))
        self.nodes += 1
        return Node(_place(start.start_mark), items, 1 + sum(item.size for item in items))

    def _mapping(self, events: Iterator[yaml.Event], start: yaml.Event, depth: int) -> Node:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, plain = _key(event)
            value = self.node(events, next(events), depth + 1)
            if key == "<<" and plain:
                merged = {**self._merge(value, event), **merged}
            elif key in own:
                self._duplicate(key, own[key].key_place, event)
            else:
                own[key] = Entry(_place(event.start_mark), value)
        self.nodes += 1
        entries = {**merged, **own}
        return Node(_place(start.start_mark), entries, 1 + sum(entry.node.size for entry in entries.values()))

    def _merge(self, node: Node, event: yaml.Event) -> Mapping[str, Entry]:
        parts = [node] if isinstance(node.value, Mapping) else node.value
        if not isinstance(parts, list) or not all(isinstance(part.value, Mapping) for part in parts):
            raise _Wrong("<< needs a mapping or a list of mappings", event.start_mark)
        merged: dict[str, Entry] = {}
        for part in parts:
            merged = {**cast("Mapping[str, Entry]", part.value), **merged}
        return merged

    def _duplicate(self, key: str, first: Place, event: yaml.Event) -> None:
        message = f"duplicate key {key!r}; first in line {first.line}"
        self.mistakes.append(_mistake(self.file, event.start_mark, message, "Keep one of the two."))


_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))


def _key(event: yaml.Event) -> tuple[str, bool]:
    if not isinstance(event, yaml.ScalarEvent):
        raise _Wrong("a key must be plain text", event.start_mark, "Quote it, or write {name} as '{name}'.")
    return event.value, not event.style


def _scalar(event: yaml.ScalarEvent) -> Node:
    place, block = _place(event.start_mark), event.style in ("|", ">")
    is_text = event.tag in ("!", "tag:yaml.org,2002:str") or (bool(event.style) and not event.tag)
    return Node(place, event.value if is_text else _resolve(event.value), block=block)


def _resolve(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > 64:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _mistake(file: str, mark: yaml.Mark | None, message: str, hint: str | None = None) -> Mistake:
    place = _place(mark) if mark else Place(0, 0)
    return Mistake(file, place.line, place.column, "", message, hint=hint)
