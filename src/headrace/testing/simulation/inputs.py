"""What happens outside, drawn from a number: what arrives at which input and when, where an input is quiet, when the YAML is edited.

A row's result may depend on when it arrived (a silent side of a join is not waited for), so the moments belong to the input. The
undisturbed run and every disturbed one get the same moments; how far the stages are behind them is the scheduler's.
"""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from headrace.foundation.resource_id import ResourceId
from headrace.models.tiny import new_checkpoint
from headrace.testing.simulation.declarations import NAMESPACES, Declared, Shape, declarations

START = datetime(2023, 11, 14, 22, tzinfo=UTC)
"""A little before the moments of arrival."""
SYMBOLS = 3
WORDS = "late again card refund rate fee cash transfer please"


@dataclass(frozen=True, slots=True)
class Feed:
    """Bytes are appended to an input's file; the last line may be cut."""

    connector: ResourceId
    data: bytes
    lines: int
    """Whole lines of the file from here on."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """An input gets nothing for its idle timeout, and its topic says so."""

    connector: ResourceId


@dataclass(frozen=True, slots=True)
class Edit:
    """The declarations change once everything before is read, labelled and learned."""

    declared: Declared


Happening = Feed | Quiet | Edit


@dataclass(frozen=True, slots=True)
class Moment:
    """What happens in the same millisecond."""

    at_ms: int
    happenings: tuple[Happening, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that comes from outside."""

    shape: Shape
    moments: tuple[Moment, ...]

    @property
    def connectors(self) -> tuple[str, ...]:
        return ("trades", "quotes") if self.shape.query == "join" else ("trades",)

    def lay_out(self, folder: Path, model: Path) -> None:
        """Declarations, the model, and files without a line yet."""
        folder.mkdir(parents=True)
        (folder / "model").symlink_to(model)
        (folder / "job.yaml").write_text(declarations(self.shape, Declared()), "utf-8")
        for namespace in NAMESPACES:
            for connector in self.connectors:
                (folder / f"{namespace}-{connector}.jsonl").touch()


def make_model(folder: Path) -> Path:
    """An untrained checkpoint that knows the words of the texts."""
    text = [f"{name} {WORDS}" for name in NAMESPACES] + ["card rate fee 0 1 2 3 4 5 6 7 8 9"]
    new_checkpoint(folder, size="tiny", text=text * 5, seed=1)
    return folder


def draw_inputs(number: int) -> Inputs:
    """The same for the same number."""
    draw = random.Random(f"inputs {number}")
    join = draw.random() < 0.75
    shape = Shape(
        query="join" if join else "window",
        timeline=draw.choice(("arrival", "event")),
        out_of_orderness=draw.choice((0, 1, 3)),
        chained=draw.random() < 0.2,
        teacher=draw.random() < 0.4,
        bounded_quotes=join and draw.random() < 0.2,
    )
    connectors = ("trades", "quotes") if join else ("trades",)
    files = [
        _File(draw, ResourceId("StreamConnector", namespace, one), shape)
        for namespace in NAMESPACES
        for one in connectors
    ]
    now_ms = 1_700_000_000_000
    bounded = [one for one in files if one.bounded]  # a source that ends is whole when it is first read
    moments = [Moment(now_ms, tuple(happening for one in bounded or files[:1] for happening in one.next()))]
    edit_at = draw.randrange(3, 7)
    while any(one.left for one in files):
        now_ms += draw.choice((1, 40, 900, 5_000))
        chosen = draw.sample(files, k=min(len(files), draw.choice((1, 1, 1, 2))))
        moments.append(Moment(now_ms, tuple(happening for one in chosen for happening in one.next())))
        if len(moments) == edit_at:
            now_ms += 1
            moments.append(Moment(now_ms, (Edit(_edited(draw)),)))
    for one in files:  # all are quiet in the end, so that every row of a join comes out
        now_ms += 10
        moments.append(Moment(now_ms, tuple(one.silence())))
    return Inputs(shape, tuple(one for one in moments if one.happenings))


def _edited(draw: random.Random) -> Declared:
    approval: Literal["auto", "manual"] = "auto" if draw.random() < 0.5 else "manual"
    return Declared(draw.choice((2, 4, 6)), approval, draw.choice((8, 16, 24)), draw.choice((1, 3, 6)))


class _File:
    """What one input is given."""

    def __init__(self, draw: random.Random, connector: ResourceId, shape: Shape) -> None:
        self._draw, self._connector = draw, connector
        self.bounded = connector.name == "quotes" and shape.bounded_quotes
        count = draw.randrange(12, 26) if connector.name == "trades" else draw.randrange(5, 14)
        self._data = b"".join(self._line(place, count) for place in range(count))
        self._given = 0
        self._silent = True

    @property
    def left(self) -> bool:
        return self._given < len(self._data)

    def next(self) -> list[Happening]:
        if self.left and (self._silent or self._draw.random() < 0.65):
            return [self._feed()]
        return self.silence()

    def silence(self) -> list[Happening]:
        """A sign, unless the last thing was one, or the input has no signs but its end."""
        if self._silent or self.bounded:
            return []
        self._silent = True
        return [Quiet(self._connector)]

    def _feed(self) -> Feed:
        rest = len(self._data) - self._given
        size = rest if self.bounded else min(rest, self._draw.randrange(60, 1_500))
        if not self.bounded and self._draw.random() < 0.6:  # most often whole lines
            size = self._data.index(b"\n", self._given + size - 1) + 1 - self._given
        piece = self._data[self._given : self._given + size]
        self._given += size
        self._silent = self._silent and b"\n" not in piece
        return Feed(self._connector, piece, self._data[: self._given].count(b"\n"))

    def _line(self, place: int, count: int) -> bytes:
        draw = self._draw
        if draw.random() < 0.04:
            return b"{broken\n"
        if place and draw.random() < 0.03:  # a record that came before comes again
            place -= 1
        behind = draw.choice((0, 0, 0, 0, 1, 2, 6))
        seconds = place * (60 / count) - behind
        words = WORDS.split()
        row = {
            "id": f"{self._connector.namespace}-{self._connector.name}-{place}",
            "event_time": f"{START + timedelta(milliseconds=int(seconds * 1000)):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "symbol": f"{self._connector.namespace}{draw.randrange(SYMBOLS)}",
            "price" if self._connector.name == "trades" else "bid": draw.randrange(10),
            "text": f"{self._connector.namespace} {draw.choice(words)} {draw.choice(words)} {draw.randrange(10)}"
            if draw.random() < 0.8
            else f"{self._connector.namespace} {draw.choice(words[:2])}",  # the same words come again
        }
        return json.dumps(row).encode() + b"\n"
