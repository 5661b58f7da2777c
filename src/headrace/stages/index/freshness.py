"""From a change being seen to its being searchable, as a histogram that survives restarts.

Bounds grow by a quarter, so a quantile is known to within 12 %: HDR-style buckets, after Tene's HdrHistogram, in few numbers.
"""

import math
from collections.abc import Mapping

import msgspec

from headrace.stages.stage import Condition

_GROWTH = 1.25
_FADE_AT = 100_000
"""Counts are halved there, so that the figures follow what happens now."""


class _Buckets(msgspec.Struct):
    changes: dict[int, int] = {}
    """By bucket."""
    deletes: dict[int, int] = {}
    """Those of them that were deletions."""


class Freshness:
    """Of one knowledge base."""

    def __init__(self, state: bytes = b"") -> None:
        self._buckets = msgspec.msgpack.decode(state, type=_Buckets) if state else _Buckets()

    def add(self, took_ms: int, *, deleted: bool) -> None:
        """A change became searchable `took_ms` after it was seen."""
        bucket = 0 if took_ms < 1 else 1 + int(math.log(took_ms, _GROWTH))
        self._count(self._buckets.changes, bucket)
        if deleted:
            self._count(self._buckets.deletes, bucket)

    def quantile(self, share: float, *, deletes: bool = False) -> float:
        """Milliseconds within which that share of the changes became searchable, rounded up to the bucket's end; NaN: none did yet."""
        buckets = self._buckets.deletes if deletes else self._buckets.changes
        left = share * sum(buckets.values())
        for bucket in sorted(buckets):
            left -= buckets[bucket]
            if left <= 0:
                return _end(bucket)
        return math.nan

    @property
    def count(self) -> int:
        return sum(self._buckets.changes.values())

    def histogram(self) -> Mapping[float, int]:
        """Changes by the upper bound of their bucket, milliseconds."""
        return {_end(bucket): count for bucket, count in sorted(self._buckets.changes.items())}

    def state(self) -> bytes:
        return msgspec.msgpack.encode(self._buckets)

    def condition(self, target_ms: int, canary_failure: str) -> Condition:
        """`Fresh`, with the figure."""
        if canary_failure:
            return Condition("Fresh", "False", "CanaryLost", canary_failure)
        if not self.count:
            return Condition("Fresh", "Unknown", "NothingSeen", "no change has arrived yet")
        p99 = self.quantile(0.99)
        message = f"99 % of {self.count} changes were searchable within {p99 / 1000:.3g} s; the target is {target_ms / 1000:.3g} s"
        holds = p99 <= target_ms
        return Condition("Fresh", "True" if holds else "False", "WithinTarget" if holds else "Slow", message)

    def progress(self) -> dict[str, int | float | str]:
        figures: dict[str, int | float | str] = {"measured": self.count}
        if self.count:
            figures |= {"freshP50Ms": round(self.quantile(0.5), 1), "freshP99Ms": round(self.quantile(0.99), 1)}
        if self._buckets.deletes:
            figures["deleteP99Ms"] = round(self.quantile(0.99, deletes=True), 1)
        return figures

    def _count(self, buckets: dict[int, int], bucket: int) -> None:
        buckets[bucket] = buckets.get(bucket, 0) + 1
        if sum(buckets.values()) >= _FADE_AT:
            for key in list(buckets):
                buckets[key] //= 2
                if not buckets[key]:
                    del buckets[key]


def _end(bucket: int) -> float:
    return 1.0 if bucket == 0 else _GROWTH**bucket
