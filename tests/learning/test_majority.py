"""The majority answer is what was most frequent before, and never takes more memory than allowed."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace.learning.majority import MajorityAnswer


def test_it_is_scored_before_it_is_counted() -> None:
    majority = MajorityAnswer()
    assert [majority.update(answer) for answer in "aabbba"] == [False, True, False, False, False, False]
    assert majority.answer == "b"


@given(st.lists(st.sampled_from("abcdef")))
def test_it_is_a_most_frequent_answer(answers: list[str]) -> None:
    majority = MajorityAnswer()
    for answer in answers:
        majority.update(answer)
    counts = Counter(answers)
    assert majority.answer is None if not answers else counts[majority.answer or ""] == max(counts.values())


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(0, 200))
def test_a_restart_changes_nothing(numbers: list[int], cut: int) -> None:
    whole, parted = MajorityAnswer(8), MajorityAnswer(8)
    for place, number in enumerate(numbers):
        parted = MajorityAnswer.from_state(parted.state(), 8) if place == cut else parted
        assert whole.update(str(number)) == parted.update(str(number))


def test_free_text_takes_bounded_memory_and_a_true_majority_survives_it() -> None:
    majority = MajorityAnswer(capacity=50)
    for number in range(5000):
        majority.update("the usual" if number % 3 == 0 else f"something else {number}")
    assert majority.answer == "the usual"
    assert len(majority.state()) < 50 * 40
