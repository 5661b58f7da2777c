"""What the port promises beyond rows: watermarks, ends, idleness, state, dead letters, names of rows."""

import dataclasses
import json

import duckdb
import msgspec
import pyarrow as pa
import pytest

from headrace.events.origin import Origin, decode_origin
from headrace.events.row_batch import empty
from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, InvalidQueryError, StateVersionError
from headrace.foundation.ids import derive_id
from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.duckdb.connection import Database
from headrace.streams.registry import engine_names, open_engine
from headrace.streams.stream_engine import EngineOptions, QuerySpec, StaticTable, StreamQuery
from headrace.testing.engine_cases import QUOTES, START_MS, TRADES, case_spec, corpus_batches, make_batch

ENGINE = DuckDBEngine()
BARS = (
    "SELECT window_start, symbol, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end, symbol"
)
JOIN = "SELECT id, bid FROM trades AS t LEFT JOIN quotes FOR SYSTEM_TIME AS OF t.event_time AS q ON t.symbol = q.symbol"


def start(sql: str, state: dict[str, bytes] | None = None) -> StreamQuery:
    spec = case_spec(sql)
    return ENGINE.start(spec, ENGINE.plan(spec), state or {}, EngineOptions())


def trades(*rows: tuple):
    return make_batch("trades", TRADES, [(*row, *(1, "A", 1.0, 1, "1")[len(row) - 1 :]) for row in rows])


def rows_of(output) -> list[dict]:
    return output.rows.table.to_pylist() if output.rows is not None else []


def test_the_engine_is_found_by_its_entry_point():
    assert "duckdb" in engine_names()
    assert open_engine().capabilities.name == "duckdb"
    with pytest.raises(InvalidDeclarationError, match="no stream engine 'flonk'"):
        open_engine("flonk")


def test_the_watermark_is_the_largest_event_time_less_out_of_orderness():
    query = start(BARS)
    assert query.watermark() is None
    query.process("trades", trades((30,), (5,)))
    assert query.watermark() == START_MS + 20_000


def test_a_window_is_given_out_when_the_watermark_reaches_its_end_and_not_before():
    query = start(BARS)
    assert rows_of(query.process("trades", trades((30,), (69.999,)))) == []
    assert [row["n"] for row in rows_of(query.process("trades", trades((70,))))] == [1]


def test_rows_after_the_end_are_late_only_for_windows_that_were_given_out():
    query = start(BARS)
    query.process("trades", trades((61,)))
    assert len(rows_of(query.end_of_input("trades"))) == 1
    assert query.watermark() == START_MS + 51_000
    output = query.process("trades", trades((70,), (55,), (125,)))
    assert [(one.index, one.by_ms) for one in output.late] == [(0, 0), (1, 60_000)]
    assert [row["n"] for row in rows_of(query.end_of_input("trades"))] == [1]


def test_windows_over_windows_set_aside_what_comes_after_the_end_with_a_reason():
    query = start(
        "WITH m AS (SELECT window_time, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) "
        "GROUP BY window_start, window_end, window_time) SELECT SUM(n) AS n FROM TABLE(TUMBLE(TABLE m, DESCRIPTOR(window_time), "
        "INTERVAL '5' MINUTE)) GROUP BY window_start, window_end"
    )
    query.process("trades", trades((30,)))
    assert rows_of(query.end_of_input("trades")) == [{"n": 1}]
    query.process("trades", trades((130,)))
    letters = [letter for _, letter in query.end_of_input("trades").dead]
    assert [letter.code for letter in letters] == ["late"]
    assert "after its windows had been given out" in letters[0].reason


def test_a_windowed_row_is_named_after_its_query_key_and_window():
    spec = case_spec(BARS)
    plan = ENGINE.plan(spec)
    query = ENGINE.start(spec, plan, {}, EngineOptions())
    query.process("trades", trades((1, 1, "x/y"), (2, 2, "x/y")))
    rows = query.end_of_input("trades").rows
    window = (START_MS, START_MS + 60_000)
    assert rows.ids.to_pylist() == [derive_id(plan.digest, "x/y", *window, 0)]
    assert rows.keys.to_pylist() == ["x/y"]
    assert rows.event_times.to_pylist() == [START_MS + 59_999]
    assert rows.ingested_at.to_pylist() == [START_MS + 3_000]
    origin = Origin(
        query=plan.digest, key="x/y", window_start=window[0], window_end=window[1], topics=["default.trades.events"]
    )
    assert decode_origin(rows.origins[0].as_py()) == origin


def test_a_filter_holds_below_a_window_of_which_no_column_is_read():
    query = start(
        "WITH r AS (SELECT event_time AS ts, qty FROM trades WHERE qty > 1) SELECT window_time, COUNT(*) AS n "
        "FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, window_time"
    )
    query.process("trades", trades((1, 1, "A", 1.0, 1), (2, 2, "A", 1.0, 2), (3, 3, "A", 1.0, 3)))
    assert [row["n"] for row in rows_of(query.end_of_input("trades"))] == [2]


def test_keys_of_several_columns_never_meet_in_one_name():
    query = start(BARS.replace("symbol", "symbol, CAST(id AS STRING) AS other", 1) + ", CAST(id AS STRING)")
    query.process("trades", trades((1, 1, "a/1"), (2, 1, "a"), (3, 1, None), (4, 1, "\\N")))
    keys = query.end_of_input("trades").rows.keys.to_pylist()
    assert sorted(keys) == sorted(["a\\/1/1", "a/1", "\\N/1", "\\\\N/1"])


def test_a_stateless_row_keeps_its_source_s_id_key_and_times():
    query = start("SELECT id FROM trades WHERE id > 1")
    batch = corpus_batches()["trades"].slice(0, 2)
    rows = query.process("trades", batch).rows
    assert rows.ids.to_pylist() == ["trades:1"]
    assert rows.ingested_at.to_pylist() == [START_MS + 6_000]
    assert decode_origin(rows.origins[0].as_py()) == Origin(topic="default.trades.events", offset=1, id="trades:1")


def test_ids_that_json_must_escape_come_back_from_the_origin():
    batch = dataclasses.replace(trades((1,)), ids=pa.array(['a"b\\c\n'], pa.string()))
    rows = start("SELECT id FROM trades").process("trades", batch).rows
    assert decode_origin(rows.origins[0].as_py()).id == 'a"b\\c\n'


def test_rows_do_not_wait_for_an_idle_input_once_everything_that_came_before_them_is_in():
    query = start(JOIN)
    quotes = corpus_batches()["quotes"]
    assert rows_of(query.process("trades", trades((1,), (60,)))) == []
    query.process("quotes", quotes.slice(0, 1))
    assert rows_of(query.idle("quotes")) == []
    assert query.watermark() == START_MS + 50_000
    assert query.newest_arrival() == START_MS + 61_000
    assert rows_of(query.caught_up("quotes", START_MS + 1_999)) == []
    assert rows_of(query.caught_up("quotes", START_MS + 2_000)) == [{"id": 1, "bid": 9.5}]


def test_a_row_that_waited_for_an_idle_input_does_not_see_what_comes_after_the_silence():
    query = start(JOIN)
    quotes = corpus_batches()["quotes"]
    query.process("quotes", quotes.slice(0, 1))
    query.idle("quotes")
    query.process("quotes", dataclasses.replace(quotes.slice(2, 1), ingested_at=pa.array([START_MS + 40_000])))
    assert rows_of(query.process("trades", trades((30, 1), (60, 2), (100, 3)))) == [{"id": 1, "bid": 9.5}]
    assert rows_of(query.idle("quotes")) == []
    assert rows_of(query.caught_up("quotes", START_MS + 70_000)) == [{"id": 2, "bid": 10.5}]


def test_the_idle_sign_of_the_left_side_makes_no_row_late():
    query = start(JOIN)
    query.process("trades", trades((30, 1)))
    query.idle("trades")
    query.process("quotes", make_batch("quotes", QUOTES, [(200, "A", 1.0)]))
    output = query.process("trades", trades((25, 2), (90, 3)))
    assert list(output.late) == []
    assert [row["id"] for row in rows_of(output)] == [2, 1]


def test_an_input_without_rows_changes_nothing():
    query = start(BARS)
    assert query.process("trades", empty(TRADES)).rows is None
    assert query.watermark() is None


def test_an_unknown_input_is_refused():
    with pytest.raises(InvalidDeclarationError, match="reads no input 'quotes'"):
        start(BARS).process("quotes", corpus_batches()["quotes"])


def test_snapshots_say_only_what_changed_and_delete_what_has_gone():
    query = start(BARS)
    query.process("trades", trades((1,)))
    first = query.snapshot()
    assert set(first) == {"progress", "1/rows/000000000000"}
    assert query.snapshot() == {}
    query.process("trades", trades((75,)))
    second = query.snapshot()
    assert second["1/rows/000000000000"] is None
    assert second["1/rows/000000000001"] is not None


def test_many_small_batches_leave_few_chunks():
    query, state = start(BARS), {}
    for place in range(200):
        query.process("trades", trades((place / 10,)))
        state |= query.snapshot()
    assert len([value for value in state.values() if value is not None]) < 12


def test_a_state_that_cannot_be_read_is_told():
    query = start(BARS)
    query.process("trades", trades((1,)))
    state = dict(query.snapshot())
    for key in state:
        with pytest.raises(CorruptDataError, match="state cannot be read"):
            start(BARS, state | {key: b"\x00not what was written"})
    with pytest.raises(CorruptDataError):
        start(BARS, {key: value for key, value in state.items() if key != "progress"})


def test_a_state_of_another_query_or_a_newer_version_is_refused():
    query = start(BARS)
    query.process("trades", trades((1,)))
    state = dict(query.snapshot())
    with pytest.raises(InvalidDeclarationError, match="another query"):
        start(BARS.replace("COUNT", "SUM").replace("(*)", "(qty)"), state)
    newer = msgspec.json.decode(state["progress"]) | {"version": 99}
    with pytest.raises(StateVersionError, match="version 99"):
        start(BARS, state | {"progress": msgspec.json.encode(newer)})


def test_a_table_with_two_rows_of_a_key_is_refused():
    spec = case_spec("SELECT id FROM trades AS t JOIN twice AS x ON t.symbol = x.symbol")
    table = StaticTable("twice", pa.table({"symbol": ["A", "A"]}))
    with pytest.raises(InvalidQueryError, match="several rows for"):
        ENGINE.plan(QuerySpec(spec.sql, spec.inputs, [table]))


def test_a_version_without_a_time_is_refused():
    spec = case_spec("SELECT id FROM trades AS t JOIN x ON t.symbol = x.symbol")
    table = StaticTable("x", pa.table({"symbol": ["A"], "since": ["soon"]}), valid_from="since")
    with pytest.raises(InvalidQueryError, match="not a time"):
        ENGINE.plan(QuerySpec(spec.sql, spec.inputs, [table]))


def test_threads_change_nothing():
    spec = case_spec(BARS.replace("COUNT(*)", "SUM(price)"))
    plan = ENGINE.plan(spec)
    batch = trades(*((place / 100, place, "AB"[place % 2], 0.1 * place) for place in range(30_000)))
    given = []
    for parallelism in (1, 4):
        query = ENGINE.start(spec, plan, {}, EngineOptions(parallelism=parallelism))
        given.append([*rows_of(query.process("trades", batch)), *rows_of(query.end_of_input("trades"))])
    assert given[0] == given[1]
    assert len(given[0]) == 10


class Breaking(Database):
    """Cannot compute what holds the price 13."""

    def register(self, name: str, table: pa.Table) -> None:
        self.breaks = any(13.0 in column.to_pylist() for column in table.columns)
        super().register(name, table)

    def query(self, sql: str) -> pa.Table:
        if self.breaks:
            raise duckdb.InvalidInputException("thirteen")
        return super().query(sql)


def test_a_row_that_cannot_be_computed_is_a_dead_letter_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr("headrace.streams.duckdb.engine.Database", Breaking)
    query = start("SELECT id, price + 1 AS p FROM trades")
    output = query.process("trades", corpus_batches()["trades"])
    assert [row["id"] for row in rows_of(output)] == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    [(_, letter)] = output.dead
    assert (letter.code, letter.origin_id, letter.source_topic, letter.source_offset) == (
        "query_failed", "trades:7", "default.trades.events", 7,
    )  # fmt: skip
    assert json.loads(letter.payload)["price"] == 13.0


def test_a_window_that_cannot_be_computed_is_a_dead_letter_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr("headrace.streams.duckdb.engine.Database", Breaking)
    query = start(BARS.replace("COUNT(*)", "MAX(price)"))
    outputs = [query.process("trades", corpus_batches()["trades"]), query.end_of_input("trades")]
    assert len([row for one in outputs for row in rows_of(one)]) == 5
    [letter] = [letter for one in outputs for _, letter in one.dead]
    assert letter.reason.startswith(f"the window [{START_MS + 120_000}, {START_MS + 180_000}) cannot be computed")


def test_duckdb_reaches_nothing_outside():
    database = Database(EngineOptions())
    secret = {"secret": 1}
    for sql in (
        "SELECT * FROM read_text('/etc/hostname')", "SELECT * FROM '/etc/hostname'", "SELECT * FROM secret",
        "COPY (SELECT 1) TO '/tmp/leak.csv'", "SET enable_external_access = true", "ATTACH '/tmp/leak.db'", "INSTALL httpfs",
    ):  # fmt: skip
        with pytest.raises(duckdb.Error):
            database.query(sql)
    assert secret


def test_an_idle_instance_is_used_again_without_anything_of_the_query_before():
    first = Database(EngineOptions(parallelism=3))
    first.register("secrets", pa.table({"value": [1]}))
    assert first.query("SELECT value FROM secrets")["value"].to_pylist() == [1]
    first.close()
    second = Database(EngineOptions(parallelism=3))
    with pytest.raises(duckdb.Error, match="secrets"):
        second.query("SELECT value FROM secrets")
