"""Converts texts, metadata and vectors to PostgreSQL's formats and back."""

import json
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.ids import derive_id
from headrace.foundation.resource_id import ResourceId
from headrace.knowledge.query import Vector
from headrace.knowledge.revision import Scalar

_BEYOND_FLOATS = "1e4400"
"""Represents infinity in comparisons: jsonb has none."""
_LONGEST_NAME = 63


def escaped(text: str) -> str:
    """The text without NUL, which PostgreSQL cannot store; preserves byte order. `unescaped` reverses it."""
    if "\x01" not in text and "\x00" not in text:
        return text
    return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")


def unescaped(text: str) -> str:
    """Reverses `escaped`."""
    return text.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01") if "\x01" in text else text


def document_id(document: str) -> str:
    """A fixed-length key: ids may be too long for an index."""
    return derive_id("document", document)


def schema_name(base: ResourceId) -> str:
    """One schema per knowledge base. InvalidDeclarationError if a name is empty or contains NUL."""
    namespace, name = base.namespace, base.name
    if not namespace or not name or "\x00" in namespace + name:
        raise InvalidDeclarationError(
            f"{namespace!r}/{name!r} is not a valid name for a knowledge base",
            next_step="give it a namespace and a name",
        )
    full = f"headrace.{namespace}.{name}"
    plain = "." not in namespace and len(full.encode()) <= _LONGEST_NAME
    return full if plain else f"headrace.{derive_id(namespace, name)}"


def dumped(metadata: Mapping[str, Scalar]) -> str:
    """The metadata unchanged, in ASCII."""
    return json.dumps(dict(metadata))


def loaded(metadata: str) -> dict[str, Scalar]:
    """Reverses `dumped`, preserving each value's type."""
    return cast("dict[str, Scalar]", json.loads(metadata))


def filterable(metadata: Mapping[str, Scalar]) -> str:
    """The metadata as jsonb that compares like `filters.matches`: numbers by exact value, texts by bytes."""
    pairs = (
        f"{json.dumps(escaped(name), ensure_ascii=False)}: {comparable(value)}" for name, value in metadata.items()
    )
    return "{" + ", ".join(pairs) + "}"


def comparable(value: Scalar) -> str:
    """A value as JSON; a value that equals nothing (NaN) becomes an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(escaped(value), ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    number = Decimal(value)
    if number.is_nan():
        return '{"nan": true}'
    return str(number) if number.is_finite() else ("-" if number < 0 else "") + _BEYOND_FLOATS


def vector_text(vector: Vector) -> str:
    """The text format of pgvector."""
    return "[" + ",".join(map(str, vector.tolist())) + "]"


def vector_bytes(vector: Vector) -> bytes:
    """The binary format of pgvector: the length, then the numbers."""
    return struct.pack("!HH", len(vector), 0) + vector.astype(">f4").tobytes()


def vector_of(data: bytes) -> NDArray[np.float64]:
    """The numbers in `vector_send`'s output."""
    return np.frombuffer(data, ">f4", offset=4).astype(np.float64)


def binary_row(*fields: bytes) -> bytes:
    """One row of a binary COPY."""
    return struct.pack("!h", len(fields)) + b"".join(struct.pack("!i", len(one)) + one for one in fields)


BINARY_HEAD = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
BINARY_END = struct.pack("!h", -1)


@lru_cache(maxsize=1 << 16)
def _element(term: str) -> str:
    return '"' + escaped(term).replace("\\", "\\\\").replace('"', '\\"') + '"'


def text_array(terms: Sequence[str]) -> str:
    """The literal of a text[]."""
    return "{" + ",".join(map(_element, terms)) + "}"


def int_array(numbers: Sequence[int]) -> str:
    """The literal of an int[]."""
    return "{" + ",".join(map(str, numbers)) + "}"
