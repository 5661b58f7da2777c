"""The record of scores answers for the first, the last and all examples, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.learning.score_window import MARKS_KEPT, PrequentialRecord


def test_first_and_last_windows_are_means_of_their_own_examples() -> None:
    record = PrequentialRecord(window=4)
    for exact in [False, False, False, True, True, True, True]:
        record.update("learner", exact)
    summary = record.summary("learner")
    assert (summary.count, summary.first, summary.last) == (7, 0.25, 1.0)
    assert summary.mean == 4 / 7


def test_a_model_that_never_scored_has_no_figures() -> None:
    record = PrequentialRecord()
    assert record.summary("served").last is None
    assert record.report() == {"first500": None, "last500": None, "majority500": None}


@given(st.lists(st.tuples(st.sampled_from(["learner", "majority"]), st.booleans())), st.integers(1, 9))
def test_a_restart_changes_nothing(scores: list[tuple[str, bool]], window: int) -> None:
    record = PrequentialRecord(window)
    for model, exact in scores:
        record.update(model, exact)
        record = PrequentialRecord.from_state(record.state(), window)
    for model in ("learner", "majority"):
        own = [exact for name, exact in scores if name == model]
        summary = record.summary(model)
        assert summary.count == len(own)
        if own:
            assert summary.first == sum(own[:window]) / len(own[:window])
            assert summary.last == sum(own[-window:]) / len(own[-window:])


def test_a_mark_keeps_how_things_stood_and_marks_are_bounded() -> None:
    record = PrequentialRecord(window=10)
    for _ in range(10):
        record.update("learner", True)
    assert record.mark("drift", 10).last == {"learner": 1.0}
    for number in range(2 * MARKS_KEPT):
        record.update("learner", False)
        record.mark(f"m{number}", number)
    assert len(record.marks) == MARKS_KEPT
    assert PrequentialRecord.from_state(record.state()).marks == record.marks


def test_the_state_stays_small_however_long_the_stream() -> None:
    record = PrequentialRecord()
    for number in range(50_000):
        record.update("learner", number % 3 == 0)
    assert len(record.state()) < 250
