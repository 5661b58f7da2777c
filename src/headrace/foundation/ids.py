"""Identifiers are derived, never random, so that a replay produces the same ones."""

import hashlib
import re
from collections.abc import Sequence

_PART = re.compile(r"/((?:[^\\/]|\\.?)*)", re.DOTALL)


def derive_id(*parts: str | int) -> str:
    """Hashes the parts, in order, to 32 hexadecimal digits (BLAKE2b, 16 bytes; parts are length-prefixed)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = str(part).encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()


def joined(texts: Sequence[str]) -> str:
    """Joins several texts in order; different lists of the same length give different results.

    A single text is returned unchanged. Several are `escaped` and joined with `/`.
    """
    return texts[0] if len(texts) == 1 else "/".join(map(escaped, texts))


def escaped(text: str, separator: str = "/") -> str:
    """The text without a bare `separator` (one character): each separator and each backslash gets a backslash in front."""
    return text.replace("\\", "\\\\").replace(separator, "\\" + separator)


def parted(text: str) -> list[str]:
    """Splits what `joined` joined, if it joined several texts."""
    return [_unescaped(part) for part in _PART.findall("/" + text)]


def split_at(text: str, separator: str) -> tuple[str, str]:
    """Splits at the first bare separator: the unescaped text before it, and the rest unchanged."""
    found = re.match(rf"((?:[^\\{re.escape(separator)}]|\\.)*)", text, re.DOTALL)
    assert found is not None, "the pattern matches the empty text"
    return _unescaped(found[0]), text[found.end() + 1 :]


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def fraction(identifier: str, salt: str) -> float:
    """Maps an id to [0, 1), uniformly and deterministically: `fraction(id, "sample") < ratio` samples."""
    data = hashlib.blake2b(f"{salt}\0{identifier}".encode(), digest_size=8).digest()
    return int.from_bytes(data, "big") / 2**64
