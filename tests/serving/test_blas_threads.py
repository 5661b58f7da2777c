"""One thread or many, by what was measured."""

from headrace.serving.numpy.blas_threads import MANY_ROWS, ThreadChoice
from headrace.testing.clock import VirtualClock


def spent(choice: ThreadChoice, seconds: dict[int, float], works: int) -> dict[int, int]:
    """How often each number of threads was picked when a work takes `seconds` with it."""
    picked: dict[int, int] = {1: 0, 4: 0}
    for _ in range(works):
        threads = choice.pick(16)
        picked[threads] += 1
        choice.learn(16, threads, seconds[threads])
    return picked


def test_few_rows_take_one_thread() -> None:
    choice = ThreadChoice(4)
    assert {choice.pick(rows) for rows in range(1, MANY_ROWS)} == {1}


def test_the_faster_choice_is_kept_and_the_slower_one_costs_little() -> None:
    quiet = spent(ThreadChoice(4), {1: 0.010, 4: 0.004}, 5000)
    assert quiet[1] < 15
    contended = spent(ThreadChoice(4), {1: 0.010, 4: 0.200}, 5000)
    assert contended[4] < 15


def test_a_change_of_the_machines_load_is_noticed() -> None:
    choice = ThreadChoice(4)
    spent(choice, {1: 0.010, 4: 0.200}, 500)
    spent(choice, {1: 0.010, 4: 0.004}, 20_000)
    assert spent(choice, {1: 0.010, 4: 0.004}, 1000)[4] > 950


def test_work_is_timed_by_the_clock() -> None:
    clock = VirtualClock()
    choice = ThreadChoice(1, clock)
    with choice.work(16):
        clock.advance(2)
    assert choice.pick(16) == 1
