from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headrace.knowledge.changes import DocumentColumns, UnusableDocumentError, to_change, version_order

COLUMNS = DocumentColumns(metadata=("product", "fee", "tags"), version="updated_at", valid_from="effective_at")
ROW = {
    "path": "a.md",
    "title": "Fees",
    "body": "Two euros.",
    "updated_at": 7,
    "product": "cards",
    "fee": 2.5,
    "tags": ["a"],
}


def change(columns=COLUMNS, **row):
    values = {key: value for key, value in {**ROW, **row}.items() if value is not None}
    return to_change(values, columns, seen_ms=10, stream_ms=5, offset=17)


def code(**row):
    with pytest.raises(UnusableDocumentError) as caught:
        change(**row)
    return caught.value.code


def test_a_row_becomes_a_change():
    found = change(effective_at="2026-03-01T12:00:00Z")
    assert (found.document, found.title, found.text, found.deleted) == ("a.md", "Fees", "Two euros.", False)
    assert (found.version, found.seen_ms, found.stream_ms, found.media) == ("7", 10, 5, "markdown")
    assert found.metadata == {"product": "cards", "fee": 2.5, "tags": '["a"]'}
    assert found.valid_from_ms == int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("word", ["upsert", "INSERT", "Update", "create", "read", "snapshot", "c", "U", "r", "i", None])
def test_words_for_a_new_version(word):
    assert not change(operation=word).deleted


@pytest.mark.parametrize("word", ["delete", "D", "Remove", "tombstone"])
def test_words_for_the_end(word):
    found = change(operation=word, body=None)
    assert found.deleted
    assert (found.text, found.title, found.metadata) == ("", "", {})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"path": None}, "missing_id"),
        ({"path": ""}, "missing_id"),
        ({"path": True}, "missing_id"),
        ({"path": "a\0b"}, "unusable_id"),
        ({"path": "a" * 1_025}, "unusable_id"),
        ({"body": None}, "missing_text"),
        ({"body": " \n"}, "missing_text"),
        ({"body": 5}, "missing_text"),
        ({"operation": "explode"}, "unknown_operation"),
        ({"operation": 3}, "unknown_operation"),
        ({"updated_at": None}, "unreadable_version"),
        ({"updated_at": True}, "unreadable_version"),
        ({"updated_at": [1]}, "unreadable_version"),
        ({"updated_at": float("inf")}, "unreadable_version"),
        ({"updated_at": "1e99999"}, None),
        ({"effective_at": "yesterday"}, "unreadable_valid_from"),
        ({"effective_at": 1.5}, "unreadable_valid_from"),
        ({"effective_at": 1 << 62}, "unreadable_valid_from"),
        ({"media": "jpeg"}, "unknown_media"),
    ],
)
def test_what_is_no_document_says_why(row, expected):
    if expected is None:
        change(**row)
    else:
        assert code(**row) == expected


def test_a_number_can_name_a_document():
    assert change(path=12).document == "12"


def test_no_text_holds_a_nul():
    found = change(body="a\0b", title="c\0", product="\0")
    assert (found.text, found.title, found.metadata["product"]) == ("a\ufffdb", "c\ufffd", "\ufffd")


def test_without_a_version_column_the_offset_orders_and_names_the_version():
    columns = DocumentColumns()
    found = [to_change(ROW, columns, seen_ms=1, stream_ms=1, offset=offset) for offset in (0, 9, 10, 2**40)]
    assert [one.version for one in found] == ["r0", "r9", "r10", "r1099511627776"]
    assert [one.order for one in found] == sorted(one.order for one in found)


def order(version):
    return version_order(version).encode()


@given(st.integers(), st.integers())
def test_the_order_of_integers(a, b):
    assert (order(a) < order(b)) == (a < b)
    assert order(str(a)) == order(a)


numbers = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False), st.integers()
)


@given(numbers, numbers)
def test_the_order_of_numbers(a, b):
    exact_a, exact_b = (Decimal(repr(one)) if isinstance(one, float) else Decimal(one) for one in (a, b))
    given_a, given_b = (str(one) if isinstance(one, Decimal) else one for one in (a, b))
    assert (order(given_a) < order(given_b)) == (exact_a < exact_b)


moments = st.datetimes(timezones=st.sampled_from([None, UTC]))


@given(moments, moments)
def test_the_order_of_times(a, b):
    plain_a, plain_b = (one.replace(tzinfo=UTC) for one in (a, b))
    assert (order(a.isoformat()) < order(b.isoformat())) == (plain_a < plain_b)


@given(st.integers(-(10**13), 10**13), st.integers(-(10**13), 10**13))
def test_times_and_milliseconds_share_one_scale(ms, other):
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat()
    assert order(text) == order(ms)
    assert (order(text) < order(other)) == (ms < other)


plain = st.text(st.characters(exclude_categories=["Cs", "Nd", "Cc"]), min_size=1).filter(lambda text: text.strip())


@given(plain, plain)
def test_the_order_of_texts_without_digits_is_that_of_their_bytes(a, b):
    assert (order(a) < order(b)) == (a.encode() < b.encode())


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_digits_within_a_text_count_by_their_value(a, b, c, d):
    assert (order(f"v{a}.{b}") < order(f"v{c}.{d}")) == ((a, b) < (c, d))


printed = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@given(printed, printed)
def test_different_texts_have_different_orders(a, b):
    same_number = order(a)[:1] == b"n"
    assert same_number or (order(a) == order(b)) == (a == b)


versions = st.one_of(
    st.integers(), st.integers(-99, 99).map(lambda n: f"{n}.5"), moments.map(datetime.isoformat), printed
)


@given(versions, versions)
def test_a_deletion_comes_right_after_the_version_that_it_names(a, b):
    assume(a != "" and b != "")
    first, second = (change(updated_at=version, operation="upsert").order.encode() for version in (a, b))
    end = change(updated_at=a, operation="delete").order.encode()
    assert first < end
    assert (end < second) == (first < second)


def test_a_deletion_holds_from_when_it_arrives():
    assert change(operation="delete", effective_at="2020-01-01").valid_from_ms is None
