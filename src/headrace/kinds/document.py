"""A YAML document as a tree that knows where everything stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None
Plain = Scalar | list["Plain"] | dict[str, "Plain"]
"""What a tree is without its places: JSON."""
Location = tuple[str | int, ...]
"""Keys and indices from the top of a document."""


def path_text(location: Location) -> str:
    """`spec.promptTemplate[0].userQuestion`, for messages."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping with its value."""

    key_place: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it starts. `size`: how many nodes it stands for, aliases written out."""

    place: Place
    value: Scalar | Sequence["Node"] | Mapping[str, Entry]
    size: int = 1
    block: bool = False
    """A `|` or `>` text: its first line stands under `place`."""

    def plain(self) -> Plain:
        """The value without places."""
        if isinstance(self.value, Mapping):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, Sequence) and not isinstance(self.value, str):
            return [item.plain() for item in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file."""

    file: str
    """As it was named; `-` for standard input."""
    root: Node
    base_dir: str = "."
    """The folder that relative paths in it start from."""
    index: int = field(default=0)
    """Which document of its file, from 0."""

    def place(self, location: Location, *, of_key: bool = False) -> Place:
        """Where a location stands, or the nearest thing above it that is there. `of_key`: its key in place of its value."""
        node, place = self.root, self.root.place
        for step in location:
            if isinstance(node.value, Mapping) and isinstance(step, str) and step in node.value:
                entry = node.value[step]
                node, place = entry.node, (entry.key_place if of_key else entry.node.place)
            elif isinstance(node.value, Sequence) and isinstance(step, int) and step < len(node.value):
                item = node.value[step]
                if not isinstance(item, Node):
                    break
                node, place = item, item.place
            else:
                break
        return place

    def node(self, location: Location) -> Node | None:
        """The node at a location; None where there is none."""
        node = self.root
        for step in location:
            if isinstance(node.value, Mapping) and isinstance(step, str) and step in node.value:
                node = node.value[step].node
            elif isinstance(node.value, Sequence) and isinstance(step, int) and step < len(node.value):
                item = node.value[step]
                if not isinstance(item, Node):
                    return None
                node = item
            else:
                return None
        return node
