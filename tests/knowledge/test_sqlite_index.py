"""The parts of the index in memory, against plain definitions."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge.query import AsOf
from headrace.knowledge.sqlite import postings as postings_module
from headrace.knowledge.sqlite.metadata import comparable
from headrace.knowledge.sqlite.moments import Intervals, Moments
from headrace.knowledge.sqlite.postings import Postings
from headrace.knowledge.sqlite.rows import Column
from headrace.knowledge.sqlite.terms import pack, unpack
from headrace.knowledge.sqlite.vector_rows import BLOCK, VectorRows
from headrace.testing.knowledge_conformance.relaxed import RELAXED

_CHUNKS = st.lists(st.dictionaries(st.integers(1, 9), st.integers(1, 70_000), max_size=5), max_size=30)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(postings_module, "_TAIL", 8)
    monkeypatch.setattr(postings_module, "_PARTS", 2)
    monkeypatch.setattr(postings_module, "_AT_ONCE", 3)
    return iter(())


@given(_CHUNKS, st.integers(1, 7))
@RELAXED
def test_postings_are_all_chunks_of_a_term_in_order(chunks: list[dict[int, int]], step: int) -> None:
    postings = Postings()
    for first in range(0, len(chunks), step):
        some = chunks[first : first + step]
        terms = [term for one in some for term in one]
        places = [first + n for n, one in enumerate(some) for _ in one]
        counts = [count for one in some for count in one.values()]
        postings.add(np.array(terms, np.uint32), np.array(places, np.int32), np.array(counts, np.uint32))

    for term in range(11):
        places, counts = postings.of(term)
        expected = [(n, one[term]) for n, one in enumerate(chunks) if term in one]
        assert list(zip(places.tolist(), counts.tolist(), strict=True)) == expected


@given(st.lists(st.lists(st.sampled_from("abcdefg")), max_size=8))
@RELAXED
def test_terms_come_back_from_their_bytes(texts: list[list[str]]) -> None:
    ids = {letter: number for number, letter in enumerate("abcdefg", 100)}
    counted = [Counter(text) for text in texts]

    numbers, counts, sizes = unpack([pack(one, ids) for one in counted])

    assert sizes.tolist() == [len(one) for one in counted]
    assert numbers.tolist() == [ids[term] for one in counted for term in one]
    assert counts.tolist() == [count for one in counted for count in one.values()]


_TIMES = st.integers(-3, 12)
_INTERVALS = st.lists(st.tuples(st.booleans(), _TIMES, _TIMES, _TIMES, _TIMES), min_size=1, max_size=8)


@given(_INTERVALS, st.lists(st.tuples(_TIMES, st.sampled_from(["arrival", "event"]), st.booleans()), max_size=12))
@RELAXED
def test_a_view_shows_what_holds_at_its_moment_however_often_it_is_used_again(
    rows: list[tuple[bool, int, int, int, int]], moments: list[tuple[int, str, bool]]
) -> None:
    intervals, views = Intervals(), Moments()
    intervals.put(np.array([(10 * n, *row) for n, row in enumerate(rows)], np.int64))
    slots, lengths = np.repeat(np.arange(len(rows), dtype=np.int32), 2), np.arange(2 * len(rows), dtype=np.int32)

    for at, timeline, canary in moments:
        column = 1 if timeline == "arrival" else 3
        view = views.view(
            intervals, slots, lengths, AsOf(at, "arrival" if timeline == "arrival" else "event"), canary=canary
        )
        shown = [row[0] == canary and row[column] <= at < row[column + 1] for row in rows]
        assert view.chunks.tolist() == [one for one in shown for _ in (0, 1)]
        seen = [n for n, one in enumerate(view.chunks.tolist()) if one]
        assert view.places.tolist() == seen
        assert view.mean_length == pytest.approx(sum(seen) / len(seen) or 1.0 if seen else 1.0)


@given(st.lists(st.floats(allow_nan=False) | st.integers() | st.integers(10**300, 10**320), min_size=2, max_size=2))
@RELAXED
def test_numbers_of_any_size_compare_as_python_compares_them(pair: list[float]) -> None:
    one, other = pair
    (_, a, a_rest), (_, b, b_rest) = comparable(one), comparable(other)
    assert ((a, a_rest.encode()) < (b, b_rest.encode())) is (one < other)
    assert ((a, a_rest) == (b, b_rest)) is (one == other)


def test_an_integer_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(InvalidDeclarationError):
        comparable(10**5_000)


@pytest.mark.parametrize("length", [1.0, 1e-3, 50.0])
def test_a_scan_is_off_by_no_more_than_it_says(length: float) -> None:
    draw = np.random.default_rng(3)
    rows = (length * draw.standard_normal((BLOCK + 700, 24))).astype(np.float32)
    rows[5] = 0.0
    rows[6, 1:] = 0.0
    held = VectorRows(24, 10**6)
    for first in range(0, len(rows), 5_000):
        held.extend(rows[first : first + 5_000])
    question = draw.standard_normal(24).astype(np.float32)

    every = np.arange(len(rows))
    for places in (every, every[::3], every[::40], every[5:7], every[BLOCK - 2 : BLOCK + 2]):
        scores, off = held.scan(question, places)
        exact = rows[places].astype(np.float64) @ question.astype(np.float64)
        assert np.abs(scores - exact).max() <= off
        assert off < 0.2 * length * 24
        assert (held.rows(places) == rows[places]).all()


def test_a_column_grows_and_keeps_what_it_holds() -> None:
    column: Column[np.int64] = Column(np.int64)
    for n in range(0, 9_000, 300):
        column.extend(np.arange(n, n + 300))
    assert column.values.tolist() == list(range(9_000))
