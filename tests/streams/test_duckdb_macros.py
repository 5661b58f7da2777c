"""Text, letters and JSON by the grammar that the engines share, not by DuckDB's own."""

import sys
from decimal import Decimal

import pytest

from headrace.streams.duckdb.connection import Database
from headrace.streams.duckdb.macros import CAPITALS
from headrace.streams.stream_engine import EngineOptions


@pytest.fixture
def database() -> Database:
    return Database(EngineOptions())


def value(database: Database, sql: str) -> object:
    return database.query(f"SELECT {sql} AS v")["v"][0].as_py()


@pytest.mark.parametrize(
    "number",
    ["1.50", "1E400", "0.0000001", "0.000001", "0.10E2", "12345678901234567890123", "1.0", "10e4", "0e0", "0.000", "1E-400", "0E7", "-1.5e-9", "-12.50", "100e-2"],
)  # fmt: skip
def test_a_number_in_json_keeps_its_digits(database: Database, number: str) -> None:
    assert value(database, f"json_scalar('{number}', '$')") == str(Decimal(number))
    assert value(database, f"""json_scalar('{{"a1": [1, "x-1.0", {number}]}}', '$.a1[2]')""") == str(Decimal(number))


def test_a_negative_zero_in_json_has_no_sign(database: Database) -> None:
    assert [value(database, f"json_scalar('{one}', '$')") for one in ("-0", "-0.0")] == ["0", "0.0"]


@pytest.mark.parametrize("text", ["NaN", "[1,]", '{"a": Infinity}', "[1, 2", "", "1 2"])
def test_what_the_standard_does_not_know_is_no_json(database: Database, text: str) -> None:
    assert value(database, f"json_there('{text}', '$')") is False


@pytest.mark.parametrize(("text", "there"), [('{"a": "nan, ]"}', True), ('["Infinity"]', True), ("null", False)])
def test_words_inside_of_strings_are_words(database: Database, text: str, there: bool) -> None:
    assert value(database, f"json_there('{text}', '$')") is there


def test_every_letter_whose_capitals_are_several_letters_is_known() -> None:
    letters = (chr(point) for point in range(sys.maxunicode + 1))
    assert {letter for letter in letters if len(letter.upper()) > 1} == set(CAPITALS)


@pytest.mark.parametrize("text", ["0x1F", "1_000", "NaN", "infinity", "1e", "", "\t5"])
def test_text_that_is_no_number_is_null(database: Database, text: str) -> None:
    assert value(database, f"number_text('{text}')") is None


@pytest.mark.parametrize("text", [" 42 ", "+3", ".5", "12.", "1e-5"])
def test_text_that_is_a_number_is_read(database: Database, text: str) -> None:
    assert value(database, f"TRY_CAST(number_text('{text}') AS DOUBLE)") == float(text)
