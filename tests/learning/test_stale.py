"""After drift, what is known to be wrong goes and the rest stays."""

import json

from hypothesis import given
from hypothesis import strategies as st

from headrace.learning.fresh import Fresh
from headrace.learning.stale import changed_share, fields_of, stale
from headrace.models.sequence import TokenSequence


def fresh(name: str, answer: str, documents: tuple[str, ...] = ()) -> Fresh:
    return Fresh(0, name, name, TokenSequence((1, 2), 1), answer, documents)


def test_the_share_of_changed_answers_is_counted_pairwise() -> None:
    assert changed_share([], []) == 0.0
    assert changed_share(["a", "b"], ["a", "c"]) == 0.5


def test_nothing_goes_where_the_answers_did_not_change() -> None:
    items = [fresh(f"e{i}", "card | cards") for i in range(100)]
    assert stale(items, {f"e{i}": "card | cards" for i in range(50)}) == frozenset()
    one_slip = {f"e{i}": "card | cards" for i in range(50)} | {"e7": "card | fees"}
    assert stale(items, one_slip) == frozenset(), "one answer in fifty is the teacher's own noise"


def test_re_asked_examples_that_disagree_go_and_those_that_agree_stay() -> None:
    items = [fresh("a", "x | 1"), fresh("b", "y | 1")]
    assert stale(items, {"a": "x | 2", "b": "y | 1"}) == {"a"}


def test_examples_with_the_same_old_answer_go_with_the_majority_of_those_re_asked() -> None:
    moved = [fresh(f"m{i}", "lost card | cards") for i in range(10)]
    stays = [fresh(f"s{i}", "fee | cards") for i in range(10)]
    mixed = [fresh(f"x{i}", "rate | money") for i in range(10)]
    reasked = {"m0": "lost card | security", "m1": "lost card | security", "s0": "fee | cards"}
    reasked |= {"x0": "rate | money", "x1": "rate | treasury"}
    assert stale([*moved, *stays, *mixed], reasked) == {item.example_id for item in moved} | {"x1"}


def test_an_answer_nobody_re_asked_is_judged_by_its_fields() -> None:
    def answer(intent: str, team: str) -> str:
        return json.dumps({"intent": intent, "team": team})

    items = [
        fresh("a", answer("lost", "cards")),
        fresh("b", answer("stolen", "cards")),
        fresh("c", answer("fee", "money")),
    ]
    assert stale(items, {"a": answer("lost", "security")}) == {"a", "b"}


def test_examples_that_cite_a_changed_document_go_unless_their_answer_was_confirmed() -> None:
    items = [fresh("a", "1", ("d1",)), fresh("b", "2", ("d1", "d2")), fresh("c", "3", ("d2",))]
    assert stale(items, {"a": "1"}, changed_documents={"d1"}) == {"b"}
    assert stale(items, {"a": "9"}, changed_documents=["d2"]) == {"a", "b", "c"}


def test_fields_of_json_and_of_parted_text_and_of_neither() -> None:
    assert fields_of('{"a": 1, "b": "x"}') == {"a": "1", "b": '"x"'}
    assert fields_of("intent | team") == {"0": "intent", "1": "team"}
    assert fields_of("[1, 2]") == {"0": "[1, 2]"}


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), max_size=30),
    st.dictionaries(st.integers(0, 40), st.sampled_from(["a | x", "a | z", "b | y"])),
)
def test_only_known_examples_go_and_confirmed_ones_never(parts: list[tuple[str, str]], reasked: dict[int, str]) -> None:
    items = [fresh(f"e{i}", f"{intent} | {team}") for i, (intent, team) in enumerate(parts)]
    answers = {f"e{i}": answer for i, answer in reasked.items()}
    gone = stale(items, answers)
    assert gone <= {item.example_id for item in items}
    assert not any(item.example_id in gone for item in items if answers.get(item.example_id) == item.answer)
