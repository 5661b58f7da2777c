"""What is replayed follows from seed, round, epoch and the buffer's content."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.learning.fresh import Fresh
from headrace.learning.replay import ReplayBuffer, ReplayOptions
from headrace.models.sequence import TokenSequence


def fresh(offset: int) -> Fresh:
    return Fresh(offset, f"e{offset}", f"r{offset}", TokenSequence((offset, 7), 1), "a" if offset % 2 else "b")


def buffer_of(count: int, capacity: int = 100, seed: int = 3) -> ReplayBuffer:
    buffer = ReplayBuffer(ReplayOptions(capacity=capacity), seed)
    buffer.add(fresh(offset) for offset in range(count))
    return buffer


def test_the_oldest_make_room() -> None:
    buffer = buffer_of(7, capacity=4)
    assert [item.offset for item in buffer.items] == [3, 4, 5, 6]
    assert len(buffer) == 4


def test_a_draw_repeats_after_a_restart_whatever_was_drawn_before() -> None:
    buffer = buffer_of(60)
    for number in range(5):
        buffer.draw(16, number, 0)
    again = ReplayBuffer.from_state(buffer.state(), ReplayOptions(), 3)
    assert again.draw(16, 9, 1) == buffer.draw(16, 9, 1) == buffer_of(60).draw(16, 9, 1)


def test_seeds_rounds_and_epochs_draw_differently() -> None:
    buffer = buffer_of(100)
    draws = [buffer.draw(10, 1, 0), buffer.draw(10, 1, 1), buffer.draw(10, 2, 0), buffer_of(100, seed=4).draw(10, 1, 0)]
    assert len({tuple(item.offset for item in draw) for draw in draws}) == 4


def test_the_draw_is_the_one_that_was_recorded() -> None:
    """A change here would break the replay of every recorded run."""
    assert [item.offset for item in buffer_of(100).draw(8, 5, 0)] == [39, 29, 99, 86, 15, 72, 70, 8]


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 2**40), st.integers(0, 9))
def test_a_draw_has_no_repetition_and_no_more_than_there_is(held: int, count: int, number: int, epoch: int) -> None:
    drawn = buffer_of(held).draw(count, number, epoch)
    assert len(drawn) == min(held, count)
    assert len({item.offset for item in drawn}) == len(drawn)


def test_every_example_is_drawn_equally_often() -> None:
    buffer = buffer_of(20)
    counts = Counter(item.offset for number in range(4000) for item in buffer.draw(5, number, 0))
    assert set(counts) == set(range(20))
    assert all(abs(count - 1000) < 5 * 28 for count in counts.values())


def test_discarded_examples_do_not_come_back() -> None:
    buffer = buffer_of(10)
    assert buffer.discard(lambda item: item.answer == "a") == 5
    assert [item.offset for item in ReplayBuffer.from_state(buffer.state(), ReplayOptions(), 3).draw(10, 0, 0)]
    assert all(item.answer == "b" for item in buffer.items)
    buffer.add([fresh(11)])
    assert len(buffer) == 6


def test_capacity_zero_replays_nothing() -> None:
    assert buffer_of(5, capacity=0).draw(3, 0, 0) == []
    with pytest.raises(ValueError, match="capacity"):
        ReplayBuffer(ReplayOptions(capacity=-1), 0)


def test_what_is_declared_now_acts_and_what_was_declared_then_does_not() -> None:
    state = buffer_of(60, capacity=64).state()
    grown = ReplayBuffer.from_state(state, ReplayOptions(per_fresh=2.0, capacity=4096), 3)
    grown.add(fresh(offset) for offset in range(60, 90))
    assert (len(grown), len(grown.draw(10, 0, 0))) == (90, 20)
    shrunk = ReplayBuffer.from_state(state, ReplayOptions(per_fresh=0.0, capacity=4), 3)
    assert [item.offset for item in shrunk.items] == [56, 57, 58, 59]
    assert shrunk.draw(10, 0, 0) == []


def test_a_smaller_capacity_forgets_the_oldest_at_once() -> None:
    buffer = buffer_of(10)
    buffer.declare(ReplayOptions(capacity=3))
    assert [item.offset for item in buffer.items] == [7, 8, 9]
    buffer.declare(ReplayOptions(capacity=5))
    buffer.add([fresh(10), fresh(11), fresh(12)])
    assert [item.offset for item in buffer.items] == [8, 9, 10, 11, 12]
