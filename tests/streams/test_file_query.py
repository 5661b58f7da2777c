"""A query over files: what is read once, what a checkpoint keeps, what the command prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.connectors.registry import open_source
from headrace.connectors.source import EventTime, SourceContext, SourceOptions
from headrace.doors.cli.app import app
from headrace.events.row_batch import RowBatch
from headrace.foundation.errors import InvalidDeclarationError, InvalidQueryError
from headrace.stages.transform.file_query import FileQuery, Receivers, run_query
from headrace.testing.resource_ids import connector_id

BARS = (
    "SELECT window_start, k, COUNT(*) AS n, SUM(v) AS s FROM TABLE(TUMBLE(TABLE x, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end, k"
)
TIME = EventTime("ts", 2_000, historical=True)


def write_rows(path: Path, count: int, first: int = 0) -> Path:
    lines = (
        json.dumps(
            {
                "ts": f"2024-01-01T{place // 3600:02d}:{place // 60 % 60:02d}:{place % 60:02d}Z",
                "k": "ab"[place % 2],
                "v": place / 10,
            }
        )
        for place in range(first, first + count)
    )
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def query_over(path: Path, sql: str = BARS, **more) -> FileQuery:
    options = SourceOptions(connector_id("x"), "file", {"path": str(path)}, event_time=TIME)
    return FileQuery(sql, {"x": open_source(options, SourceContext())}, {"x": TIME}, **more)


class Collected(list):
    """Rows in order; `stop_after` rows raises, as a kill would."""

    def __init__(self, stop_after: int = 1 << 30) -> None:
        self.stop_after = stop_after

    def take(self, batch: RowBatch) -> None:
        self.extend(zip(batch.ids.to_pylist(), batch.table.to_pylist(), strict=True))
        if len(self) >= self.stop_after:
            raise KeyboardInterrupt


def test_a_file_gives_every_window_once_and_is_counted(tmp_path):
    rows = Collected()
    report = run_query(query_over(write_rows(tmp_path / "x.jsonl", 600)), Receivers(rows.take))
    assert (report.read, report.rows, report.late, report.dead) == (600, 20, 0, 0)
    assert [row["n"] for _, row in rows] == [30] * 20


def test_a_run_that_was_cut_goes_on_after_its_last_checkpoint_and_ends_with_the_same_rows(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", 1_200)
    whole, first, second = Collected(), Collected(stop_after=9), Collected()
    run_query(query_over(path), Receivers(whole.take))
    with pytest.raises(KeyboardInterrupt):
        run_query(query_over(path, checkpoint=tmp_path / "at", checkpoint_rows=100), Receivers(first.take))
    report = run_query(query_over(path, checkpoint=tmp_path / "at", checkpoint_rows=100), Receivers(second.take))
    assert report.read < 1_200
    assert dict([*first, *second]) == dict(whole)
    assert {name for name, _ in first} | {name for name, _ in second} == {name for name, _ in whole}


def test_no_more_rows_than_asked_lie_between_two_checkpoints(tmp_path):
    report = run_query(
        query_over(write_rows(tmp_path / "x.jsonl", 1_000), checkpoint=tmp_path / "at", checkpoint_rows=100),
        Receivers(lambda batch: None),
    )
    assert report.checkpoints >= 10


def test_a_checkpoint_of_another_query_is_refused(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", 10)
    run_query(query_over(path, checkpoint=tmp_path / "at"), Receivers(lambda batch: None))
    other = query_over(path, BARS.replace("SUM", "MAX"), checkpoint=tmp_path / "at")
    with pytest.raises(InvalidDeclarationError, match="belongs to another query"):
        run_query(other, Receivers(lambda batch: None))


def test_a_source_that_the_query_does_not_read_is_told(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", 10)
    options = SourceOptions(connector_id("y"), "file", {"path": str(path)}, event_time=TIME)
    wanted = query_over(path)
    both = FileQuery(BARS, {**wanted.sources, "y": open_source(options, SourceContext())}, {"x": TIME, "y": TIME})
    with pytest.raises(InvalidDeclarationError, match="does not read y"):
        run_query(both, Receivers(lambda batch: None))


def test_late_rows_and_dead_letters_are_handed_over_and_counted(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", 300)
    with path.open("a") as file:
        file.write('{"ts": "2024-01-01T00:00:05Z", "k": "a", "v": 1}\n{"ts": broken\n')
    late, dead = [], []
    report = run_query(
        query_over(path), Receivers(lambda batch: None, lambda row, by: late.append((row.id, by)), dead.append)
    )
    assert (report.late, report.dead) == (1, 1)
    assert late[0][1] == 297_000 - 60_000
    assert [letter.code for letter in dead] == ["malformed_json"]


def command(*arguments: str):
    return CliRunner().invoke(app, ["sql", *arguments])


def test_the_command_prints_json_lines_csv_a_table_and_writes_parquet(tmp_path):
    from pyarrow import parquet

    path = write_rows(tmp_path / "x.jsonl", 120)
    common = ["--source", f"x={path}", "--event-time", "ts", "--out-of-orderness", "2s", BARS]
    lines = command(*common)
    assert [json.loads(line)["n"] for line in lines.stdout.splitlines()] == [30] * 4
    assert "120 rows read, 4 rows out, 0 late, 0 dead letters" in lines.stderr
    assert command(*common, "-o", "csv").stdout.splitlines()[0] == '"window_start","k","n","s"'
    assert command(*common, "-o", "table").stdout.split()[:4] == ["WINDOW_START", "K", "N", "S"]
    command(*common, "-o", "parquet", "--out", str(tmp_path / "bars.parquet"))
    assert parquet.read_table(tmp_path / "bars.parquet").num_rows == 4


def test_the_command_joins_tables_and_takes_a_schema_and_a_file(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", 4)
    (tmp_path / "names.csv").write_text("k,name\na,Alpha\nb,Beta\n")
    (tmp_path / "q.sql").write_text("SELECT v, name FROM x JOIN names ON x.k = names.k WHERE v > 0.1;")
    found = command(
        "--source", f"x={path}", "--table", f"names={tmp_path / 'names.csv'}", "-f", str(tmp_path / "q.sql"),
        "--schema", "x=ts TIMESTAMP_LTZ(3), k STRING, v DECIMAL(10, 2)", "--event-time", "ts",
    )  # fmt: skip
    assert [json.loads(line) for line in found.stdout.splitlines()] == [
        {"v": "0.2", "name": "Alpha"}, {"v": "0.3", "name": "Beta"},
    ]  # fmt: skip


def test_a_wrong_query_says_where_and_ends_with_2(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", 4)
    found = command("--source", f"x={path}", "--event-time", "ts", "SELECT nope FROM x")
    assert isinstance(found.exception, InvalidQueryError) or found.exit_code == 2
    assert "no column nope" in f"{found.exception} {found.stderr}"


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", 20_000)
    argv = ["headrace", "sql", "--source", f"x={path}", "--event-time", "ts", "SELECT * FROM x"]
    call = f"import sys; from headrace.doors.cli import main; sys.argv = {argv}; main()"
    with subprocess.Popen([sys.executable, "-c", call], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(timeout=60) in (0, 141)


def test_the_command_is_light_to_import():
    code = "import sys, headrace.doors.cli.sql; print([name for name in ('duckdb', 'pyarrow', 'sqlglot') if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_bad_rows_of_a_table_are_told_and_an_empty_table_joins_as_empty(tmp_path):
    write_rows(tmp_path / "x.jsonl", 4)
    (tmp_path / "names.jsonl").write_text('{"k": "a", "n": 1}\nnot json\n', "utf-8")
    (tmp_path / "none.jsonl").write_text("", "utf-8")
    query = "SELECT x.k, n.n, m.o FROM x LEFT JOIN names AS n ON x.k = n.k LEFT JOIN none AS m ON x.k = m.k"
    given = ["sql", query, "--source", f"x={tmp_path / 'x.jsonl'}", "--event-time", "ts"]
    given += ["--table", f"names={tmp_path / 'names.jsonl'}", "--table", f"none={tmp_path / 'none.jsonl'}"]
    result = CliRunner().invoke(app, [*given, "--schema", "none=k STRING, o INT"])
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in result.stdout.splitlines()] == [{"k": "a", "n": 1}, {"k": "b"}] * 2
    assert "dead letter (malformed_json)" in result.stderr
    assert "1 dead letters" in result.stderr


def test_a_join_of_two_files_is_the_same_in_one_run_and_in_two(tmp_path):
    def run(count: int, folder: str) -> list:
        write_rows(tmp_path / "x.jsonl", count)
        write_rows(tmp_path / "y.jsonl", count)
        sources = {
            name: open_source(
                SourceOptions(connector_id(name), "file", {"path": str(tmp_path / f"{name}.jsonl")}, event_time=TIME),
                SourceContext(),
            )
            for name in "xy"
        }
        sql = "SELECT x.v AS v, y.v AS w FROM x LEFT JOIN y FOR SYSTEM_TIME AS OF x.ts AS y ON x.k = y.k"
        found = Collected()
        wanted = FileQuery(sql, sources, dict.fromkeys("xy", TIME), checkpoint=tmp_path / folder, checkpoint_rows=7)
        run_query(wanted, Receivers(found.take))
        return [(row["v"], row["w"]) for _, row in found]

    whole = run(30, "whole")
    assert whole == [(place / 10, place / 10) for place in range(30)]
    assert [*run(15, "parts"), *run(30, "parts")] == whole
