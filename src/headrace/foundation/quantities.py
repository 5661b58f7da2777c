"""Quantities as people write them: Kubernetes cpu and memory, Flink memory, durations.

Every parser raises a ValueError that lists the accepted forms.
"""

import re

_DURATION_MS = {
    "ms": 1, "s": 1_000, "sec": 1_000, "m": 60_000, "min": 60_000,
    "h": 3_600_000, "d": 86_400_000,
}  # fmt: skip
_MEMORY = {
    "": 1, "b": 1,
    "k": 1_000, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_FLINK_MEMORY = {
    "": 1, "b": 1, "bytes": 1, "k": 2**10, "kb": 2**10, "m": 2**20, "mb": 2**20,
    "g": 2**30, "gb": 2**30, "t": 2**40, "tb": 2**40,
}  # fmt: skip


def parse_duration_ms(text: str) -> int:
    """'5m' → 300000. Units: ms, s, m, h, d; several may follow each other ('1h30m')."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip())
    if not parts or "".join(n + u for n, u in parts) != re.sub(r"\s", "", text):
        raise ValueError(f"{text!r} is not a duration; write a number and ms, s, m, h or d, such as 30s or 5m")
    unknown = [unit for _, unit in parts if unit not in _DURATION_MS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} in {text!r} is not a unit of time; use ms, s, m, h or d")
    return round(sum(float(number) * _DURATION_MS[unit] for number, unit in parts))


def parse_cpu(text: str) -> float:
    """'8000m' → 8.0, '2' → 2.0: cores, as Kubernetes writes them."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a cpu quantity; write cores (2, 0.5) or thousandths (500m)")
    cores = float(match[1]) / (1000 if match[2] else 1)
    if cores <= 0:
        raise ValueError(f"{text!r} is not a cpu quantity; it must be more than 0")
    return cores


def parse_memory(text: str) -> int:
    """'24Gi' → bytes, as Kubernetes writes them (Ki, Mi, Gi, Ti; k, M, G, T)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", text.strip())
    if not match or match[2] not in _MEMORY:
        raise ValueError(
            f"{text!r} is not a memory quantity; write bytes with Ki, Mi, Gi, Ti, k, M, G or T, such as 24Gi"
        )
    return round(float(match[1]) * _MEMORY[match[2]])


def parse_flink_memory(text: str) -> int:
    """'8192m' → bytes, as Flink's MemorySize writes them (powers of 1024)."""
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip().lower())
    if not match or match[2] not in _FLINK_MEMORY:
        raise ValueError(
            f"{text!r} is not a Flink memory size; write a whole number with b, kb, m, g or t, such as 8192m"
        )
    return int(match[1]) * _FLINK_MEMORY[match[2]]
