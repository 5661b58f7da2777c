"""Counters, gauges and histograms, written as Prometheus reads them (text exposition format 0.0.4)."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Labels = tuple[str, ...]


class Counter:
    """Only grows."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text, self._labels = name, text, tuple(labels)
        self._values: dict[Labels, float] = defaultdict(float)

    def add(self, *labels: str, amount: float = 1) -> None:
        self._values[labels] += amount

    def lines(self) -> Iterable[str]:
        for labels, value in self._values.items():
            yield _line(self.name, zip(self._labels, labels, strict=True), value)


class Gauge:
    """Read on scrape."""

    kind = "gauge"

    def __init__(
        self, name: str, text: str, read: Callable[[], dict[Labels, float]], labels: Sequence[str] = ()
    ) -> None:
        self.name, self.text, self._read, self._labels = name, text, read, tuple(labels)

    def lines(self) -> Iterable[str]:
        for labels, value in self._read().items():
            yield _line(self.name, zip(self._labels, labels, strict=True), value)


class Histogram:
    """Counts by upper bound, sum and number."""

    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS) -> None:
        self.name, self.text, self._labels, self._bounds = name, text, tuple(labels), tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = defaultdict(float)

    def observe(self, *labels: str, value: float) -> None:
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def lines(self) -> Iterable[str]:
        for labels, counts in self._counts.items():
            named = list(zip(self._labels, labels, strict=True))
            total = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                yield _line(f"{self.name}_bucket", [*named, ("le", bound)], total)
            yield _line(f"{self.name}_sum", named, self._sums[labels])
            yield _line(f"{self.name}_count", named, total)


class CountedHistogram:
    """A histogram counted elsewhere: per label set, the number of values by upper bound. Read on scrape."""

    kind = "histogram"

    def __init__(
        self, name: str, text: str, read: Callable[[], Mapping[Labels, Mapping[float, int]]], labels: Sequence[str] = ()
    ) -> None:
        self.name, self.text, self._read, self._labels = name, text, read, tuple(labels)

    def lines(self) -> Iterable[str]:
        """The sum adds upper bounds, because exact values are unknown."""
        for labels, counts in self._read().items():
            named = list(zip(self._labels, labels, strict=True))
            total, upper = 0, 0.0
            for bound, count in sorted(counts.items()):
                total, upper = total + count, upper + bound * count
                yield _line(f"{self.name}_bucket", [*named, ("le", f"{bound:.6g}")], total)
            yield _line(f"{self.name}_bucket", [*named, ("le", "+Inf")], total)
            yield _line(f"{self.name}_sum", named, upper)
            yield _line(f"{self.name}_count", named, total)


Metric = Counter | Gauge | Histogram | CountedHistogram


def exposition(metrics: Iterable[Metric]) -> str:
    """The page that Prometheus scrapes."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.text}", f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
    return "\n".join(lines) + "\n"


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
