"""Names that people give resources."""

import pytest

from headrace.foundation.errors import NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.short_names import ShortNames

RED, BLUE = (ResourceId("StreamFinetuner", space, "desk") for space in ("red", "blue"))
TINY = ResourceId("BaseModel", "red", "tiny")
RED_BASE = ResourceId("BaseModel", "red", "desk")


def test_a_name_alone_counts_where_one_namespace_has_it() -> None:
    names = ShortNames([RED, BLUE, TINY], "model")
    assert names.find("tiny") == names.find("red/tiny") == names.find("BaseModel/red/tiny") == TINY
    assert (names.find("red/desk"), names.find("blue/desk")) == (RED, BLUE)
    assert [names.shown(one) for one in (RED, BLUE, TINY)] == ["red/desk", "blue/desk", "tiny"]


def test_an_ambiguous_name_lists_the_candidates() -> None:
    with pytest.raises(
        NotFoundError, match=r"several namespaces have a model 'desk': blue/desk, red/desk — Use a full name"
    ):
        ShortNames([RED, BLUE, TINY], "model").find("desk")


def test_an_unknown_name_gives_the_nearest_in_the_form_that_works() -> None:
    with pytest.raises(NotFoundError, match=r"Use one of: blue/desk, red/desk, tiny; nearest: red/desk"):
        ShortNames([RED, BLUE, TINY], "model").find("red/dusk")
    with pytest.raises(NotFoundError, match="Use one of: none yet"):
        ShortNames([], "model").find("desk")


def test_of_two_kinds_with_one_full_name_the_first_has_the_name_and_both_have_one() -> None:
    names = ShortNames([RED, RED_BASE], "model")
    assert names.find("desk") == names.find("red/desk") == RED
    assert names.find("BaseModel/red/desk") == RED_BASE
    assert (names.shown(RED), names.shown(RED_BASE)) == ("desk", "BaseModel/red/desk")
