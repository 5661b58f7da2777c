"""Anchors are chosen by the root's hash alone and their labels are versioned."""

import msgspec
import pytest

from headrace.learning.anchors import SHARE, AnchorOptions, AnchorSet
from headrace.learning.fresh import Fresh
from headrace.models.sequence import TokenSequence


def fresh(offset: int, answer: str = "old") -> Fresh:
    return Fresh(offset, f"e{offset}", f"r{offset}", TokenSequence((1, 2), 1), answer)


def test_the_same_roots_are_held_out_in_every_finetuner_and_after_the_set_is_full() -> None:
    first, other = AnchorSet(AnchorOptions(2)), AnchorSet(AnchorOptions(256))
    roots = [f"root-{number}" for number in range(5000)]
    before = [first.takes(root) for root in roots]
    for offset in range(5):
        first.add(fresh(offset))
    assert [first.takes(root) for root in roots] == before == [other.takes(root) for root in roots]
    assert abs(sum(before) / len(roots) - SHARE) < 0.01


def test_nothing_is_held_out_where_no_anchors_are_wanted() -> None:
    assert not any(AnchorSet(AnchorOptions(0)).takes(str(number)) for number in range(1000))


def test_the_first_ones_stay() -> None:
    anchors = AnchorSet(AnchorOptions(2))
    assert [anchors.add(fresh(offset)) for offset in (0, 0, 1, 2)] == [True, False, True, False]
    assert [item.offset for item in anchors.items()] == [0, 1]


def test_a_changed_label_opens_a_version_and_an_equal_one_does_not() -> None:
    anchors = AnchorSet(AnchorOptions(4))
    for offset in range(3):
        anchors.add(fresh(offset))
    assert anchors.replace({"e0": fresh(0), "elsewhere": fresh(7, "new")}) == 1
    again = msgspec.structs.replace(fresh(1, "new"), sequence=TokenSequence((1, 9), 1))
    assert anchors.replace({"e1": again}) == 2
    assert anchors.items() == (fresh(0), again, fresh(2))


def test_dropped_anchors_make_room_and_open_a_version() -> None:
    anchors = AnchorSet(AnchorOptions(2))
    anchors.add(fresh(0))
    anchors.add(fresh(1, "kept"))
    assert anchors.discard(lambda item: item.answer == "old") == 1
    assert anchors.version == 2
    assert anchors.add(fresh(2))


def test_reasked_prompts_open_one_version_though_no_answer_changed() -> None:
    anchors = AnchorSet(AnchorOptions(4))
    for offset in range(3):
        anchors.add(fresh(offset))
    again = msgspec.structs.replace(fresh(1), sequence=TokenSequence((7, 8), 1), reasked_at=9)
    assert anchors.replace({"elsewhere": fresh(7)}) == 1
    assert anchors.replace({"e1": again, "e2": fresh(2, "new")}) == 2
    assert anchors.items() == (fresh(0), again, fresh(2, "new"))


def test_a_restart_changes_nothing() -> None:
    anchors = AnchorSet(AnchorOptions(5, share=0.5))
    anchors.add(fresh(0))
    anchors.replace({"e0": fresh(0, "new")})
    again = AnchorSet.from_state(anchors.state(), AnchorOptions(5, share=0.5))
    assert (again.items(), again.version, again.takes("x")) == (anchors.items(), anchors.version, anchors.takes("x"))
    assert again.state() == anchors.state()


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        AnchorSet(AnchorOptions(5, share=1.0))


def test_a_smaller_set_keeps_its_first_anchors_and_a_larger_one_takes_more() -> None:
    anchors = AnchorSet(AnchorOptions(4))
    for offset in range(4):
        anchors.add(fresh(offset))
    shrunk = AnchorSet.from_state(anchors.state(), AnchorOptions(2))
    assert ([item.offset for item in shrunk.items()], shrunk.version, shrunk.full) == ([0, 1], 2, True)
    shrunk.declare(AnchorOptions(3))
    assert (shrunk.add(fresh(9)), shrunk.version) == (True, 2)
    shrunk.declare(AnchorOptions(0))
    assert (len(shrunk), shrunk.takes("any"), shrunk.version) == (0, False, 3)
