"""What a query becomes in Flink's SQL, without a cluster: golden statements, digests, refusals, and how its output is read."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from headrace.foundation.errors import CorruptDataError, InvalidQueryError
from headrace.log.record import Record
from headrace.log.topic_log import ExternalTable
from headrace.streams.flink.raw_rows import read_raw
from headrace.streams.flink.sql.job_sql import write_job
from headrace.streams.flink.sql.notes import job_notes
from headrace.streams.planning import describe
from headrace.streams.stream_job import JobLateRow, JobOptions, JobSign, JobSpec
from headrace.streams.validate import plan_query
from headrace.testing.engine_cases import CASES, case_spec

GOLDEN = Path(__file__).parent / "golden"
MINUTE = "TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))"
BY = "GROUP BY window_start, window_end"
SECRET = "the-password-of-the-broker"


def job_of(sql: str, address: str = "broker:9092") -> JobSpec:
    spec = case_spec(sql)
    properties = {"bootstrap.servers": address, "sasl.jaas.config": SECRET}
    inputs = {one.name: ExternalTable("kafka", f"headrace.{one.topic}", properties) for one in spec.inputs}
    tables = {one.name: ExternalTable("kafka", f"headrace.table.{one.name}", properties) for one in spec.tables}
    plan = describe(spec, plan_query(spec))
    return JobSpec("one", spec, plan, inputs, tables, ExternalTable("kafka", "headrace.out", properties), JobOptions())


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("stateless", "SELECT id, UPPER(symbol) AS s, price * 2 AS p FROM trades WHERE qty > 3"),
        (
            "tumble",
            f"SELECT window_start, symbol, FIRST_VALUE(price) AS o, SUM(amount) AS v FROM {MINUTE} {BY}, symbol",
        ),
        ("ordered", f"SELECT symbol, SUM(price) AS s FROM {MINUTE} {BY}, symbol"),
        ("table", "SELECT id, name FROM trades AS t JOIN names AS n ON t.symbol = n.symbol"),
    ],
)
def test_a_query_becomes_these_statements(name: str, sql: str) -> None:
    written = write_job(job_of(sql))
    text = ";\n\n".join((*written.statements, written.insert)) + "\n"
    assert text == (GOLDEN / f"{name}.sql").read_text("utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_name_of_the_user_stands_unquoted_and_no_view_is_named_twice(case: object) -> None:
    written = write_job(job_of(str(getattr(case, "sql", ""))))
    names = [one.split()[3] for one in written.statements]
    assert len(set(names)) == len(names)
    assert all("symbol" not in one.replace("`symbol`", "") for one in written.statements)


def test_addresses_and_secrets_are_no_part_of_the_digest() -> None:
    sql = "SELECT id FROM trades"
    assert write_job(job_of(sql)).digest == write_job(job_of(sql, "elsewhere:9092")).digest
    assert write_job(job_of(sql)).digest != write_job(job_of("SELECT qty FROM trades")).digest


def test_another_lay_out_of_the_query_has_the_same_digest() -> None:
    assert (
        write_job(job_of("SELECT id FROM trades")).digest == write_job(job_of("select  id\nfrom trades -- all")).digest
    )


def test_a_name_that_begins_like_a_hidden_column_does_no_harm() -> None:
    spec = case_spec("SELECT id FROM trades")
    first = spec.inputs[0]
    columns = tuple(dataclasses.replace(one, name="_kind") if one.name == "id" else one for one in first.schema.columns)
    stream = dataclasses.replace(first, schema=dataclasses.replace(first.schema, columns=columns))
    spec = dataclasses.replace(spec, sql="SELECT _kind FROM trades", inputs=[stream, *spec.inputs[1:]])
    job = dataclasses.replace(job_of("SELECT id FROM trades"), query=spec)
    assert "`_kind` BIGINT" in write_job(job).statements[0]
    assert "__kind AS" in write_job(job).statements[0]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT CAST(price AS STRING) AS s FROM trades", ("DOUBLE as text", "DECIMAL")),
        ("SELECT price % 2 AS r FROM trades", ("remainder", "DECIMAL")),
        ("SELECT TRUNCATE(price, 1) AS r FROM trades", ("so many digits",)),
        ("SELECT TIMESTAMPDIFF(MONTH, event_time, event_time) AS m FROM trades", ("months", "DAY")),
        ("SELECT REGEXP(symbol, '(?=a)') AS r FROM trades", ("look-around",)),
        ("SELECT REGEXP(symbol, '[') AS r FROM trades", ("no regular expression",)),
        ("SELECT REGEXP_REPLACE(symbol, '(a)', '\\1') AS r FROM trades", ("without groups",)),
        ("SELECT JSON_VALUE(symbol, symbol) AS v FROM trades", ("path", "constant")),
        ("SELECT JSON_EXISTS(symbol, '$..a') AS v FROM trades", ("path", "read alike")),
        ("SELECT CAST(amount AS DECIMAL(38, 38)) AS v FROM trades", ("before the point", "DECIMAL(38, 37)")),
        (
            "SELECT COUNT(*) AS n FROM TABLE(SESSION(TABLE trades PARTITION BY symbol, DESCRIPTOR(event_time), INTERVAL '5' SECOND)) " + BY,
            ("PARTITION BY", "TUMBLE"),
        ),
        (f"SELECT VAR_POP(qty) + 1 AS v FROM {MINUTE} {BY}", ("VAR_POP", "alone")),
        (
            "WITH p AS (SELECT event_time AS ts, price FROM trades) SELECT 1 AS one FROM p AS a "
            "JOIN quotes FOR SYSTEM_TIME AS OF a.ts AS q ON a.price = q.bid",
            ("two keys", "DECIMAL(38, 18)"),
        ),
        (
            "SELECT SUM(price) AS v FROM TABLE(SESSION(TABLE trades, DESCRIPTOR(event_time), INTERVAL '5' SECOND)) " + BY,
            ("SESSION", "DECIMAL"),
        ),
        (
            "SELECT SUM(price) AS v FROM TABLE(HOP(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE, INTERVAL '1' DAY)) " + BY,
            ("1440 windows", "DECIMAL"),
        ),
    ],
)  # fmt: skip
def test_what_flink_would_answer_otherwise_is_refused(sql: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        write_job(job_of(sql))
    for word in words:
        assert word in str(caught.value)


def test_it_is_said_beforehand_that_late_rows_of_sessions_are_not_listed() -> None:
    gap = "INTERVAL '5' SECOND"
    session = f"SELECT COUNT(*) AS n FROM TABLE(SESSION(TABLE trades, DESCRIPTOR(event_time), {gap})) {BY}"
    assert "late rows of a SESSION are dropped and not listed on flink" in job_notes(plan_query(case_spec(session)))
    assert job_notes(plan_query(case_spec(f"SELECT COUNT(*) AS n FROM {MINUTE} {BY}"))) == ()


def test_late_rows_and_signs_are_read_beside_the_rows() -> None:
    job = job_of("SELECT id, amount FROM trades")
    said = [
        {"x": "row", "c0": 7, "c1": "12.50", "id": "a", "key": "k", "t": 5, "g": 6, "o": 3},
        {"x": "late", "n": "trades", "o": 4, "b": 250},
        {"x": "sign", "n": "trades", "s": "end", "o": 9},
    ]
    records = [Record(place, "", "raw", msgspec.json.encode(one), 0, "", "", 0) for place, one in enumerate(said)]
    output = read_raw(job, records)
    assert output.rows is not None
    assert output.rows.ids.to_pylist() == ["a"]
    assert output.rows.origins.to_pylist() == ['{"topic":"default.trades.events","offset":3,"id":"a"}']
    assert list(output.late) == [JobLateRow("trades", 4, 250)]
    assert list(output.signs) == [JobSign("trades", "end", 9)]


def test_what_the_job_did_not_write_is_named_by_its_offset() -> None:
    record = Record(41, "", "raw", b"poison", 0, "", "", 0)
    with pytest.raises(CorruptDataError, match="offset 41"):
        read_raw(job_of("SELECT id FROM trades"), [record])
