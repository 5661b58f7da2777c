"""docs/sql.md lists what the engine implements."""

from pathlib import Path

from headrace.streams.duckdb.sql_writer import SCALAR_SQL
from headrace.streams.functions import AGGREGATES, FUNCTIONS, SCALARS
from headrace.streams.sql_reference import with_functions
from headrace.testing.engine_cases import CASES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sql.md"


def test_the_list_of_functions_is_up_to_date():
    page = PAGE.read_text("utf-8")
    assert with_functions(page) == page


def test_every_allowed_function_is_implemented_and_nothing_else():
    nodes_of_their_own = {"NOW", "MOD"}
    assert {one.name for one in SCALARS} == set(SCALAR_SQL) | nodes_of_their_own


def test_every_allowed_function_stands_in_the_corpus():
    text = " ".join(case.sql for case in CASES).upper()
    assert [name for name in FUNCTIONS if f"{name}(" not in text] == []
    assert len(AGGREGATES) > 10
