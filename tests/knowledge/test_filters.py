"""Filters mean what they say, and refuse everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge.filters import MAX_CONDITIONS, MAX_VALUES, OPERATORS, Condition, matches, parse_filter
from headrace.knowledge.revision import Scalar

_NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False)
_SCALARS: st.SearchStrategy[Scalar] = st.text(max_size=4) | _NUMBERS | st.booleans()
_METADATA = st.dictionaries(st.sampled_from("abc"), _SCALARS)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*OPERATORS, "a", "$ne"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip

FEE = {"product": "cards", "fee": 4.5, "reviewed": True}


@pytest.mark.parametrize(
    ("given_filter", "expected"),
    [
        ({}, True),
        ({"product": "cards"}, True),
        ({"product": "cards", "fee": 5}, False),
        ({"fee": {"gte": 4.5, "lt": 5}}, True),
        ({"fee": {"gt": 4.5}}, False),
        ({"fee": {"lte": 4}}, False),
        ({"product": {"in": ["accounts", "cards"]}}, True),
        ({"product": {"in": []}}, False),
        ({"reviewed": True}, True),
        ({"reviewed": 1}, False),
        ({"fee": "4.5"}, False),
        ({"absent": {"exists": False}}, True),
        ({"product": {"exists": False}}, False),
        ({"absent": {"lt": 9}}, False),
        ({"product": {"gt": "card"}}, True),
        ({"product": "' or '1'='1"}, False),
    ],
)
def test_all_conditions_must_hold(given_filter: dict[str, object], expected: bool) -> None:
    assert matches(parse_filter(given_filter), FEE) is expected


@pytest.mark.parametrize(
    ("given_filter", "message"),
    [
        ({"a": {"like": "%"}}, "unknown operator 'like'"),
        ({"a": {"in": "text"}}, "requires a list"),
        ({"a": {"exists": 1}}, "true or false"),
        ({"a": None}, "is not a text"),
        ({"a": [1]}, "is not a text"),
        ({"a": {"gt": float("nan")}}, "is not a text"),
        ({"a": {"in": [1] * (MAX_VALUES + 1)}}, "values; the limit is"),
        ({f"n{n}": 1 for n in range(MAX_CONDITIONS + 1)}, "conditions; the limit is"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(given_filter: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidDeclarationError, match=message):
        parse_filter(given_filter)


def test_metadata_that_is_not_declared_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidDeclarationError, match="product, fee"):
        parse_filter({"prodct": "x"}, names=["product", "fee"])


@given(st.dictionaries(st.text(max_size=4), _JSON, max_size=4), _METADATA)
def test_any_json_is_a_filter_or_is_refused(given_filter: dict[str, object], metadata: dict[str, Scalar]) -> None:
    try:
        conditions = parse_filter(given_filter)
    except InvalidDeclarationError:
        return
    assert isinstance(matches(conditions, metadata), bool)


@given(_METADATA, st.sampled_from("abc"), _SCALARS)
def test_of_two_values_of_one_kind_exactly_one_comparison_holds(
    metadata: dict[str, Scalar], name: str, value: Scalar
) -> None:
    held = [matches((Condition(name, one, (value,)),), metadata) for one in ("lt", "eq", "gt")]
    assert sum(held) <= 1
    if name in metadata and _kind(metadata[name]) == _kind(value):
        assert sum(held) == 1


@given(_METADATA, st.sampled_from("abc"), st.lists(_SCALARS, max_size=4))
def test_in_is_any_of_its_values(metadata: dict[str, Scalar], name: str, values: list[Scalar]) -> None:
    each = [matches((Condition(name, "eq", (value,)),), metadata) for value in values]
    assert matches((Condition(name, "in", tuple(values)),), metadata) is any(each)


@given(_METADATA)
def test_a_document_matches_what_it_holds_and_nothing_more(metadata: dict[str, Scalar]) -> None:
    assert matches(parse_filter({name: {"eq": value} for name, value in metadata.items()}), metadata)
    for name in "abc":
        assert matches(parse_filter({name: {"exists": True}}), metadata) is (name in metadata)


def _kind(value: Scalar) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
