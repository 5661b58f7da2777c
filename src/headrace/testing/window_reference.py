"""Windows worked out one event at a time, in plain Python: what the engine must equal."""

from dataclasses import dataclass, field

BEGINNING = -(1 << 60)
BarRow = tuple[int, int, str, int, float, float, float, float]
"""start, end, key, number of events, first, last, largest, sum of values"""


@dataclass(frozen=True)
class Event:
    """One event; times are ms."""

    time: int
    key: str
    value: float


@dataclass
class Bar:
    """A window of a key."""

    start: int
    end: int
    key: str
    events: list[tuple[int, int, float]] = field(default_factory=list[tuple[int, int, float]])

    def row(self) -> BarRow:
        ordered = [value for _, _, value in sorted(self.events)]
        return (self.start, self.end, self.key, len(ordered), ordered[0], ordered[-1], max(ordered), sum(ordered))


def windows_of(time: int, kind: str, size: int, step: int) -> list[tuple[int, int]]:
    """Every [start, end) that holds a time."""
    if kind == "TUMBLE":
        start = time // size * size
        return [(start, start + size)]
    if kind == "HOP":
        newest = time // step * step
        return [
            (start, start + size)
            for start in range(newest - size + step, newest + 1, step)
            if start <= time < start + size
        ]
    start = time // size * size
    return [(start, end) for end in range(start + step, start + size + 1, step) if end > time]


def expected(
    events: list[Event], kind: str, size: int, step: int, out_of_orderness: int
) -> tuple[list[BarRow], list[int]]:
    """Gives (rows in order, places of late events)."""
    bars: dict[tuple[int, int, str], Bar] = {}
    late, latest = list[int](), BEGINNING
    for place, event in enumerate(events):
        watermark = latest - out_of_orderness if latest > BEGINNING else BEGINNING
        still = [(s, e) for s, e in windows_of(event.time, kind, size, step) if e > watermark]
        if not still:
            late.append(place)
        for start, end in still:
            bar = bars.setdefault((end, start, event.key), Bar(start, end, event.key))
            bar.events.append((event.time, place, event.value))
        latest = max(latest, event.time)
    return [bars[one].row() for one in sorted(bars)], late


def expected_sessions(events: list[Event], gap: int, out_of_orderness: int) -> tuple[list[BarRow], list[int]]:
    """The same for sessions per key."""
    done: list[Bar] = []
    live: list[Bar] = []
    late, latest = list[int](), BEGINNING
    for place, event in enumerate(events):
        watermark = latest - out_of_orderness if latest > BEGINNING else BEGINNING
        done += [bar for bar in live if bar.end <= watermark]
        live = [bar for bar in live if bar.end > watermark]
        bar = Bar(event.time, event.time + gap, event.key, [(event.time, place, event.value)])
        met = [one for one in live if one.key == event.key and one.start <= bar.end and bar.start <= one.end]
        if not met and bar.end <= watermark:
            late.append(place)
            continue
        for one in met:
            bar = Bar(min(bar.start, one.start), max(bar.end, one.end), bar.key, bar.events + one.events)
        live = [one for one in live if not any(one is other for other in met)] + [bar]
        latest = max(latest, event.time)
    bars = sorted(done + live, key=lambda one: (one.end, one.start, one.key))
    return [bar.row() for bar in bars], late
