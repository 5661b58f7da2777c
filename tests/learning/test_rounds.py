"""Rounds hold whole rows and depend on the order of the examples alone."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.foundation.errors import CorruptDataError
from headrace.learning.fresh import Fresh
from headrace.learning.rounds import Round, RoundAssembler
from headrace.models.sequence import TokenSequence


def fresh(offset: int, row: str) -> Fresh:
    return Fresh(offset, f"e{offset}", row, TokenSequence((1, 2, offset), 2), "yes", ("doc",))


def stream(sizes: list[int]) -> list[tuple[Fresh, bool]]:
    """Rows of so many examples each, with the sign of each row's last."""
    items: list[tuple[Fresh, bool]] = []
    for row, size in enumerate(sizes):
        items += [(fresh(len(items) + i, f"r{row}"), i == size - 1) for i in range(size)]
    return items


def assemble(items: list[tuple[Fresh, bool]], size: int) -> list[Round]:
    assembler = RoundAssembler(size)
    closed = [made for item, last in items if (made := assembler.add(item, last))]
    rest = assembler.flush()
    return [*closed, *([rest] if rest else [])]


def test_a_round_closes_at_the_first_row_boundary_at_or_past_its_size() -> None:
    rounds = assemble(stream([1, 3, 1, 2]), 3)
    assert [[item.offset for item in made.items] for made in rounds] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [made.number for made in rounds] == [0, 1]


def test_a_row_whose_last_example_never_came_ends_where_the_next_row_begins() -> None:
    assembler = RoundAssembler(2)
    assert assembler.add(fresh(0, "a"), complete=False) is None
    assert assembler.add(fresh(1, "a"), complete=False) is None
    closed = assembler.add(fresh(2, "b"), complete=True)
    assert closed
    assert [item.row_id for item in closed.items] == ["a", "a"]
    assert [item.offset for item in assembler.pending] == [2]


def test_what_is_left_at_the_end_of_input_is_a_round_of_its_own_and_nothing_is_none() -> None:
    assembler = RoundAssembler(8)
    assert assembler.flush() is None
    assembler.add(fresh(0, "a"), complete=True)
    rest = assembler.flush()
    assert rest
    assert rest.number == 0
    assert assembler.next_round == 1


@given(st.lists(st.integers(1, 5), max_size=40), st.integers(1, 9), st.data())
def test_a_restart_anywhere_changes_no_round(sizes: list[int], size: int, data: st.DataObject) -> None:
    items = stream(sizes)
    cut = data.draw(st.integers(0, len(items)))
    assembler, rounds = RoundAssembler(size), list[Round]()
    for place, (item, last) in enumerate(items):
        if place == cut:
            assembler = RoundAssembler.from_state(assembler.state(), size)
        rounds += [made] if (made := assembler.add(item, last)) else []
    rounds += [rest] if (rest := assembler.flush()) else []
    assert rounds == assemble(items, size)


@given(st.lists(st.integers(1, 5), max_size=40), st.integers(1, 9), st.sets(st.integers(0, 100)))
def test_every_example_is_in_one_round_in_order_and_no_row_is_split(
    sizes: list[int], size: int, lost: set[int]
) -> None:
    items = [entry for place, entry in enumerate(stream(sizes)) if place not in lost]
    rounds = assemble(items, size)
    assert [item for made in rounds for item in made.items] == [item for item, _ in items]
    for made, following in pairwise(rounds):
        assert made.items[-1].row_id != following.items[0].row_id
        assert len(made.items) >= size


def test_a_state_that_is_not_one_is_refused() -> None:
    with pytest.raises(CorruptDataError, match="does not parse"):
        RoundAssembler.from_state(b"\x01", 8)
    with pytest.raises(ValueError, match="at least one example"):
        RoundAssembler(0)


def test_the_open_round_closes_by_the_size_that_is_declared_now() -> None:
    assembler = RoundAssembler(8)
    for offset in range(5):
        assert assembler.add(fresh(offset, f"r{offset}"), complete=True) is None
    restored = RoundAssembler.from_state(assembler.state(), 3)
    closed = restored.add(fresh(5, "r5"), complete=True)
    assert closed
    assert [item.offset for item in closed.items] == [0, 1, 2, 3, 4]
    restored.declare(2)
    closed = restored.add(fresh(6, "r6"), complete=True)
    assert closed
    assert [item.offset for item in closed.items] == [5, 6]
