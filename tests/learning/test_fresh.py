"""Which examples a changed document leaves behind."""

import msgspec
import pytest

from headrace.learning.fresh import Fresh, pack, unpack
from headrace.models.sequence import TokenSequence


def citing(*cited: tuple[str, str]) -> Fresh:
    documents, versions = tuple(one[0] for one in cited), tuple(one[1] for one in cited)
    return Fresh(1, "e", "r", TokenSequence((1, 2), 1), "a", documents, versions)


@pytest.mark.parametrize(
    ("current", "outdated"),
    [
        ({"fees": "2"}, True),
        ({"fees": "1"}, False),
        ({"fees": None}, True),
        ({"cards": "9"}, True),
        ({"cards": "3", "elsewhere": "1"}, False),
        ({"fee": "2", "fees@1": "2", "": "2"}, False),
        ({}, False),
    ],
)
def test_another_version_of_any_cited_document_counts(current: dict[str, str | None], outdated: bool) -> None:
    assert citing(("fees", "1"), ("cards", "3"), ("fees", "1")).outdated_by(current) is outdated


def test_two_versions_of_one_document_are_never_both_current() -> None:
    assert citing(("fees", "1"), ("fees", "2")).outdated_by({"fees": "2"})


def test_an_example_kept_before_versions_were_is_left_behind_by_any_change() -> None:
    class Former(msgspec.Struct, frozen=True, array_like=True):
        offset: int
        example_id: str
        row_id: str
        sequence: TokenSequence
        answer: str
        documents: tuple[str, ...] = ()

    former = Former(1, "e", "r", TokenSequence((1, 2), 1), "a", ("fees",))
    item = unpack(pack(former), Fresh)
    assert item == Fresh(1, "e", "r", TokenSequence((1, 2), 1), "a", ("fees",))
    assert item.outdated_by({"fees": "1"})
    assert not item.outdated_by({"cards": "1"})
