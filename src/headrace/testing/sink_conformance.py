"""What every sink promises: inherit `SinkConformance` and say how to open yours and what the world sees of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.sink import Sink
from headrace.log.record import Record

_SETTINGS = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def sample_records(count: int, start: int = 0) -> list[Record]:
    """`count` records of the rows `{"n": start}`, `{"n": start + 1}` and so on."""
    return [
        Record(
            offset=n, id=f"row-{n}", kind="row/1", value=msgspec.json.encode({"n": n, "text": f"é {n}"}),
            event_time=1_700_000_000_000 + n, key="", origin="", ingested_at=0,
        )
        for n in range(start, start + count)
    ]  # fmt: skip


@dataclass
class _Committed:
    """What the stage's log holds."""

    offset: int = 0
    prepared: bytes | None = None


class SinkConformance(ABC):
    """The contract of `headrace.connectors.sink.Sink`."""

    exactly_once: bool = True
    """False for a sink without two phases: after a kill records may be seen again, never fewer, each known by its id."""

    @abstractmethod
    def reset(self) -> None:
        """Empties the world."""

    @abstractmethod
    def make_sink(self) -> Sink:
        """A new sink over the same world at every call, as after a restart of the process."""

    @abstractmethod
    def seen(self) -> list[int]:
        """`n` of every record that the world sees, in order."""

    def test_everything_is_seen_once_and_in_order_when_nothing_goes_wrong(self) -> None:
        self._run([5, 1, 30, 2], kills=frozenset())
        assert self.seen() == list(range(38))

    def test_a_sink_that_gets_nothing_shows_nothing(self) -> None:
        self._run([], kills=frozenset())
        assert self.seen() == []

    @_SETTINGS
    @given(
        sizes=st.lists(st.integers(1, 25), min_size=1, max_size=6),
        kills=st.frozensets(st.integers(0, 40), max_size=6),
    )
    def test_kills_at_call_boundaries_lose_nothing(self, sizes: list[int], kills: frozenset[int]) -> None:
        self._run(sizes, kills)
        seen = self.seen()
        if self.exactly_once:
            assert seen == list(range(sum(sizes)))
        else:
            assert list(dict.fromkeys(seen)) == list(range(sum(sizes)))

    def test_a_kill_at_each_single_boundary_loses_nothing(self) -> None:
        sizes = [3, 12, 4]
        for step in range(self._run(sizes, kills=frozenset())):
            self._run(sizes, frozenset({step}))
            assert sorted(set(self.seen())) == list(range(sum(sizes)))
            assert not self.exactly_once or self.seen() == list(range(sum(sizes)))

    def test_publishing_and_recovering_twice_is_harmless(self) -> None:
        self.reset()
        sink = self.make_sink()
        sink.recover(None)
        sink.write(sample_records(5))
        prepared = sink.prepare(end=True)
        sink.publish()
        sink.publish()
        sink.close()
        for _ in range(2):
            again = self.make_sink()
            again.recover(prepared)
            again.close()
        assert self.seen() == list(range(5))

    def _run(self, sizes: Sequence[int], kills: frozenset[int]) -> int:
        """Plays a stage that is killed before those of its calls; returns how many calls there were."""
        self.reset()
        committed, calls = _Committed(), 0
        while True:
            sink = self.make_sink()
            for _ in _stage(sink, sizes, committed):
                calls += 1
                if calls - 1 in kills:
                    break
            else:
                sink.close()
                return calls
            sink.close()


def _stage(sink: Sink, sizes: Sequence[int], committed: _Committed) -> Iterator[None]:
    """Writes batches of those sizes from the committed offset on; gives way before every call and every commit."""
    yield
    sink.recover(committed.prepared)
    bounds = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    for end in [bound for bound in bounds if bound > committed.offset]:
        yield
        sink.write(sample_records(end - committed.offset, committed.offset))
        yield
        prepared = sink.prepare()
        yield
        committed.offset, committed.prepared = end, prepared
        yield
        sink.publish()
    yield
    prepared = sink.prepare(end=True)
    yield
    committed.prepared = prepared
    yield
    sink.publish()
