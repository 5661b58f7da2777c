"""Identifiers are derived, never drawn, so that a replay gives the same ones."""

import hashlib


def derive_id(*parts: str | int) -> str:
    """Hashes the parts, in order, to 32 hexadecimal digits (BLAKE2b, 16 bytes; parts are length-prefixed)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = str(part).encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()


def fraction(identifier: str, salt: str) -> float:
    """Maps an id to [0, 1), uniformly and for ever the same: `fraction(id, "sample") < ratio` samples."""
    data = hashlib.blake2b(f"{salt}\0{identifier}".encode(), digest_size=8).digest()
    return int.from_bytes(data, "big") / 2**64
