"""Flink's dialect: what is read, and what DuckDB is asked in its place."""

import pytest

from headrace.foundation.errors import InvalidQueryError
from headrace.streams.dialect import normalised, parse_query
from headrace.streams.duckdb.sql_writer import write
from headrace.streams.prune import optimise
from headrace.streams.validate import plan_query
from headrace.testing.engine_cases import case_spec

TUMBLE = "TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))"
GOLDEN = {
    "SELECT id, price / qty AS p FROM trades WHERE symbol = 'it''s'": (
        "SELECT c8 AS c13, TRY_CAST(try(CAST(c10 AS DOUBLE) / NULLIF(CAST(c11 AS DOUBLE), 0)) AS DOUBLE) AS c14, _o, _t, _n FROM "
        "(SELECT c2 AS c8, c4 AS c10, c5 AS c11, _o, _t, _n FROM (SELECT * FROM base) WHERE (c3 = 'it''s'))"
    ),
    "SELECT CAST(symbol AS INT) AS i, CAST('x' AS TIMESTAMP(3)) AS t FROM trades": (
        "SELECT TRY_CAST(number_text(c3) AS INTEGER) AS c7, CAST(TRY_CAST('x' AS TIMESTAMPTZ) AS TIMESTAMP) AS c8, _o, _t, _n FROM "
        "(SELECT * FROM base)"
    ),
    f"SELECT symbol, LAST_VALUE(price) AS c, SUM(price) AS s FROM {TUMBLE} GROUP BY window_start, window_end, symbol": (
        "SELECT c12 AS c16, c14 AS c17, c15 AS c18, _o, _t, _g, _ws, _we, _k0 FROM (SELECT make_timestamp((_ws) * 1000) AS c10, "
        "make_timestamp((_we) * 1000) AS c11, c3 AS c12, make_timestamp((_we - 1) * 1000) AS c13, arg_max(c4, _o) AS c14, "
        "TRY_CAST(sum(c4 ORDER BY _o) AS DOUBLE) AS c15, min(_o) AS _o, _we - 1 AS _t, max(_g) AS _g, _ws, _we, c3 AS _k0 FROM "
        "(SELECT *, make_timestamp((_ws) * 1000) AS c7, make_timestamp((_we) * 1000) AS c8, make_timestamp((_we - 1) * 1000) AS c9 "
        "FROM base) GROUP BY _ws, _we, c3)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("sql", GOLDEN, ids=range(len(GOLDEN)))
def test_a_query_becomes_this_sql_of_duckdb(sql):
    plan = plan_query(case_spec(sql))
    assert write(optimise(plan.root, {slot for _, slot in plan.columns})).sql == GOLDEN[sql]


def test_no_name_and_no_text_of_the_user_leaves_its_quotes():
    plan = plan_query(case_spec("SELECT 'a''; DROP TABLE x; --' AS `y\"; DROP` FROM trades"))
    sql = write(optimise(plan.root, {slot for _, slot in plan.columns})).sql
    assert "'a''; DROP TABLE x; --'" in sql
    assert "y" not in sql.replace("TRY_CAST", "")


@pytest.mark.parametrize(
    "window",
    [
        "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
        "TUMBLE(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE, `OFFSET` => INTERVAL '5' SECOND)",
        "HOP(TABLE t, DESCRIPTOR(`ts`), interval '1 second', interval '5 seconds')",
        "CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY)",
        "SESSION(TABLE t PARTITION BY a, b, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
        "SESSION(DATA => TABLE t PARTITION BY a, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '1' MINUTE)",
    ],
)
@pytest.mark.parametrize("form", ["TABLE({})", "{}", "table({}) AS w"])
def test_window_table_functions_are_read(window, form):
    assert (
        parse_query(f"SELECT a FROM {form.format(window)} GROUP BY window_start, window_end").find(type(None)) is None
    )


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ("TUMBLE(TABLE t, DESCRIPTOR(ts))", "TUMBLE lacks SIZE"),
        ("TUMBLE(t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)", "expected TABLE"),
        ("TUMBLE(TABLE t, ts, INTERVAL '1' MINUTE)", "expected DESCRIPTOR"),
        ("TUMBLE(TABLE t, DESCRIPTOR(a, b), INTERVAL '1' MINUTE)", "DESCRIPTOR takes one column"),
        ("TUMBLE(TABLE t, DESCRIPTOR(ts), 60)", "expected an INTERVAL"),
        ("TUMBLE(TABLE t, DESCRIPTOR(ts), WIDTH => INTERVAL '1' MINUTE)", "TUMBLE takes DATA, TIMECOL, SIZE"),
    ],
)
def test_a_window_function_that_is_written_wrongly_says_how(window, words):
    with pytest.raises(InvalidQueryError, match=words):
        parse_query(f"SELECT a FROM TABLE({window})")


def test_lay_out_comments_and_the_case_of_keywords_make_no_other_query():
    assert normalised("select a -- why\n from t ;") == normalised("SELECT a\nFROM t")
    assert normalised("SELECT 'a' FROM t") != normalised("SELECT 'A' FROM t")
    assert normalised("SELECT a FROM t") != normalised("SELECT A FROM t")


def test_a_query_without_end_is_refused():
    with pytest.raises(InvalidQueryError, match="longer than"):
        parse_query("SELECT " + "a, " * 50_000 + "a FROM t")
    with pytest.raises(InvalidQueryError, match="nested too deeply"):
        parse_query("SELECT " + "(" * 5_000 + "a" + ")" * 5_000 + " FROM t")
