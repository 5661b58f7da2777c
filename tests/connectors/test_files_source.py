"""Reading files: the real data, resuming, following, and bad input."""

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.connectors.files.options import Options
from headrace.connectors.registry import open_source
from headrace.connectors.source import EventTime, Source, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.origin import decode_origin
from headrace.events.row_batch import RowBatch, concat
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import FinalError, InvalidDeclarationError, NotFoundError
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

TRADES = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"),
        Column("trade_id", "BIGINT"),
        Column("symbol", "STRING"),
        Column("price", "DECIMAL(38, 18)"),
        Column("amount", "DOUBLE"),
    )
)
NUMBERS = RowSchema((Column("n", "BIGINT"), Column("text", "STRING")))


opened: list[Source] = []


def make(
    path: Path | str, schema: RowSchema | None = None, *, clock: VirtualClock | None = None, name: str = "things",
    ids: tuple[str, ...] = (), key: tuple[str, ...] = (), event_time: EventTime | None = None, **options: object,
) -> Source:  # fmt: skip
    source = SourceOptions(
        connector_id(name), "file", {"path": str(path), **options}, schema=schema, id_columns=ids, key=key,
        event_time=event_time or EventTime(),
    )  # fmt: skip
    made = open_source(source, SourceContext(clock=clock or VirtualClock()))
    opened.append(made)
    return made


@pytest.fixture(autouse=True)
def close_sources() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


def drain(
    source: Source, max_rows: int = 1000, position: bytes | None = None
) -> tuple[list[RowBatch], list[DeadLetter], bytes]:
    """Everything that is there: until the end, or until there is nothing new."""
    source.open(position)
    return drain_on(source, max_rows)


def drain_on(source: Source, max_rows: int = 1000) -> tuple[list[RowBatch], list[DeadLetter], bytes]:
    batches: list[RowBatch] = []
    dead: list[DeadLetter] = []
    while True:
        batch = source.poll(max_rows, 0)
        if batch.rows is not None:
            assert 0 < batch.rows.num_rows <= max_rows
            batches.append(batch.rows)
        dead += [letter for _, letter in batch.dead]
        if batch.end or batch.waiting:
            return batches, dead, batch.position


def column(batches: list[RowBatch], name: str) -> list[object]:
    return [value for batch in batches for value in batch.table.column(name).to_pylist()]


def all_ids(batches: list[RowBatch]) -> list[str]:
    return [value for batch in batches for value in batch.ids.to_pylist()]


def test_real_trades_are_read_whole_and_typed_exactly(shared_data: Path) -> None:
    path = shared_data / "market" / "trades-XRP_ETH.jsonl"
    source = make(path, TRADES, ids=("trade_id",), key=("symbol",), event_time=EventTime("event_time"))
    batches, dead, _ = drain(source)
    rows = concat(batches)
    expected = [json.loads(line, parse_float=str) for line in path.read_text().splitlines()]
    assert rows.num_rows == len(expected) == 12_477
    assert dead == []
    assert [f"{price:f}".rstrip("0") for price in rows.table.column("price").to_pylist()] == [
        row["price"] for row in expected
    ]
    assert rows.ids[0].as_py() == f"things:{expected[0]['trade_id']}"
    assert set(rows.keys.to_pylist()) == {"XRP/ETH"}
    assert rows.event_times[0].as_py() == 1_570_752_011_620
    assert decode_origin(rows.origins[41].as_py()).position == "42"
    assert rows.offsets.to_pylist() == list(range(12_477))


def test_a_glob_of_real_candles_is_merged_by_event_time(shared_data: Path) -> None:
    source = make(shared_data / "market" / "candles-*_BTC-5m.csv", key=("symbol",), event_time=EventTime("event_time"))
    batches, dead, _ = drain(source, 777)
    rows = concat(batches)
    times = rows.event_times.to_pylist()
    assert rows.num_rows == 22_998
    assert dead == []
    assert times == sorted(times)
    assert set(rows.keys.to_pylist()) == {"ADA/BTC", "ETH/BTC", "LTC/BTC", "XMR/BTC"}
    assert rows.table.schema.field("event_time").type == pa.timestamp("ms", "UTC")
    whole, _, _ = drain(source, 10**6)
    assert all_ids(whole) == all_ids(batches)


def test_real_questions_with_commas_and_quotes_are_read(shared_data: Path) -> None:
    batches, dead, _ = drain(make(shared_data / "support" / "banking77-train.csv"))
    assert sum(batch.num_rows for batch in batches) == 10_003
    assert dead == []
    assert "How do I know if I will get my card, or if it is lost?" in column(batches, "text")


def write_numbers(path: Path, numbers: range, *, end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("\n".join(json.dumps({"n": n, "text": f"line {n}"}) for n in numbers) + end)


def test_each_kind_of_bad_line_is_one_dead_letter_with_its_place_and_the_stream_goes_on(tmp_path: Path) -> None:
    lines = [
        b'{"n": 1, "text": "fine"}',
        b'{"n": 2, "text": "cut o',
        b'{"n": "two", "text": "wrong type"}',
        b'{"text": "no key"}',
        b'{"n": 5, "text": "\xff\xfe"}',
        b'[6, "no object"]',
        b"",
        b'{"n": 8, "text": null}',
        b'{"n": 9, "text": "' + b"x" * 3000 + b'"}',
        b'{"n": 10}',
    ]
    (tmp_path / "bad.jsonl").write_bytes(b"\n".join(lines))
    batches, dead, _ = drain(make(tmp_path / "bad.jsonl", NUMBERS, key=("n",), maxRecordBytes=1024))
    assert column(batches, "n") == [1, 8, 10]
    assert all_ids(batches) == ["things:bad.jsonl@1", "things:bad.jsonl@8", "things:bad.jsonl@10"]
    assert [(letter.code, letter.reason.split(": ")[0]) for letter in dead] == [
        ("malformed_json", "bad.jsonl:2"),
        ("wrong_type", "bad.jsonl:3"),
        ("missing_key", "bad.jsonl:4"),
        ("invalid_utf8", "bad.jsonl:5"),
        ("not_an_object", "bad.jsonl:6"),
        ("too_long", "bad.jsonl:9"),
    ]
    assert dead[1].payload == lines[2].decode()
    assert dead[1].reason == 'bad.jsonl:3: column n: "two" is not BIGINT'
    assert dead[3].payload == '{"n": 5, "text": "\\xff\\xfe"}'
    assert {letter.stage for letter in dead} == {"ingest"}


def test_a_clock_a_year_ahead_is_a_dead_letter_unless_history_is_replayed(tmp_path: Path) -> None:
    clock = VirtualClock(1_700_000_000_000)
    schema = RowSchema((Column("at", "BIGINT"),))
    times = [1_700_000_000, 1_700_000_299_000, 1_700_000_301_000, 1_731_536_000, 1_600_000_000_000]
    (tmp_path / "a.jsonl").write_text("".join(f'{{"at": {time}}}\n' for time in times))
    batches, dead, _ = drain(make(tmp_path / "a.jsonl", schema, clock=clock, event_time=EventTime("at")))
    assert concat(batches).event_times.to_pylist() == [1_700_000_000_000, 1_700_000_299_000, 1_600_000_000_000]
    assert [letter.code for letter in dead] == ["ahead_of_clock", "ahead_of_clock"]
    historical = make(tmp_path / "a.jsonl", schema, clock=clock, event_time=EventTime("at", historical=True))
    assert sum(batch.num_rows for batch in drain(historical)[0]) == 5


def test_a_line_of_100_mb_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(b'{"n": 1}\n{"n": 2, "text": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"n": 3}\n')
    tracemalloc.start()
    batches, dead, position = drain(make(path, NUMBERS))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 << 20
    assert column(batches, "n") == [1, 3]
    assert all_ids(batches)[-1] == "things:long.jsonl@3"
    assert [(letter.code, len(letter.payload)) for letter in dead] == [("too_long", 64 << 10)]
    assert drain(make(path, NUMBERS), position=position)[:2] == ([], [])


def test_an_empty_file_ends_at_once(tmp_path: Path) -> None:
    for name in ("empty.jsonl", "empty.csv"):
        (tmp_path / name).write_text("")
        source = make(tmp_path / name)
        assert drain(source)[:2] == ([], [])
        assert source.schema is None
    (tmp_path / "head.csv").write_text("n,text\n")
    assert drain(make(tmp_path / "head.csv", NUMBERS))[:2] == ([], [])


def test_a_file_of_garbage_without_a_schema_is_all_dead_letters(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("what\nis this\n")
    batches, dead, _ = drain(make(tmp_path / "a.jsonl"))
    assert batches == []
    assert [letter.code for letter in dead] == ["malformed_json", "malformed_json"]


@pytest.mark.parametrize("change", ["shrink", "replace"])
def test_a_single_file_that_shrank_or_was_replaced_is_a_clear_error(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.jsonl"
    write_numbers(path, range(10))
    source = make(path, NUMBERS)
    source.open(None)
    position = source.poll(5, 0).position
    text = path.read_text()
    path.write_text(text[:40] if change == "shrink" else text.replace("line 0", "gone 0"))
    with pytest.raises(FinalError) as caught:
        make(path, NUMBERS).open(position)
    assert "a.jsonl" in str(caught.value)
    assert "--from source" in str(caught.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "head.csv", "crlf.csv"])
def test_a_last_line_without_a_newline_is_whole_and_read_once(tmp_path: Path, name: str) -> None:
    data = {
        "a.jsonl": '{"n": 1}\n{"n": 2}',
        "a.csv": 'n,text\n1,x\n2,"y"',
        "head.csv": "n,text",
        "crlf.csv": "n,text\r\n1,x\r\n2,",
    }
    (tmp_path / name).write_bytes(data[name].encode())
    source = make(tmp_path / name, NUMBERS)
    batches, dead, position = drain(source, 1)
    assert (column(batches, "n"), dead, source.lag()) == ([] if name == "head.csv" else [1, 2], [], 0)
    assert drain(make(tmp_path / name, NUMBERS), position=position)[:2] == ([], [])


def test_a_bounded_file_that_shrinks_while_it_is_read_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_numbers(path, range(10))
    source = make(path, NUMBERS)
    source.open(None)
    source.poll(100, 0)
    path.write_text(path.read_text()[:50])
    with pytest.raises(FinalError, match="now has only 50 bytes"):
        source.poll(100, 0)


def test_a_followed_file_that_is_written_anew_with_the_same_beginning_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_numbers(path, range(3), end='\n{"n": 3, "te')
    source = make(path, NUMBERS, follow=True)
    assert column(drain(source)[0], "n") == [0, 1, 2]
    (tmp_path / "new").write_text(path.read_text() + 'xt": "x"}\n{"n": 4}\n')
    (tmp_path / "new").rename(path)
    batch = source.poll(10, 1)
    assert batch.rows is not None
    assert batch.rows.table.column("n").to_pylist() == [3, 4]


def test_among_several_files_a_changed_one_is_told_once_and_the_others_go_on(tmp_path: Path) -> None:
    for name, start in (("a.jsonl", 0), ("b.jsonl", 100)):
        write_numbers(tmp_path / name, range(start, start + 10))
    clock = VirtualClock()
    source = make(tmp_path, NUMBERS, follow=True, clock=clock)
    batches, _, _ = drain(source, 100)
    assert len(column(batches, "n")) == 20
    (tmp_path / "a.jsonl").write_text('{"n": 999}\n')
    write_numbers(tmp_path / "b.jsonl", range(110, 115))
    source.poll(1, 0)
    told: list[DeadLetter] = []
    seen: list[object] = []
    for _ in range(5):
        batch = source.poll(100, 1)
        told += [letter for _, letter in batch.dead]
        seen += column([batch.rows], "n") if batch.rows else []
    assert seen == list(range(110, 115))
    assert [letter.code for letter in told] == ["file_changed"]
    again, dead, _ = drain(make(tmp_path, NUMBERS, follow=True), position=batch.position)
    assert (again, dead) == ([], [])


def test_a_growing_file_is_read_as_it_grows_and_a_partial_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_numbers(path, range(3), end='\n{"n": 3, "te')
    source = make(path, NUMBERS, follow=True)
    assert not source.bounded
    assert column(drain(source)[0], "n") == [0, 1, 2]
    with path.open("a") as file:
        file.write('xt": "rest"}\n')
    batch = source.poll(10, 1)
    assert batch.rows is not None
    assert batch.rows.table.to_pylist() == [{"n": 3, "text": "rest"}]
    assert source.lag() == 0
    write_numbers(path, range(4, 6))
    assert column(drain(make(path, NUMBERS, follow=True), position=batch.position)[0], "n") == [4, 5]


def test_a_growing_folder_is_read_in_name_order_each_record_once(tmp_path: Path) -> None:
    write_numbers(tmp_path / "2.jsonl", range(20, 23))
    source = make(tmp_path, NUMBERS, follow=True)
    seen = column(drain(source)[0], "n")
    write_numbers(tmp_path / "3.jsonl", range(30, 33))
    write_numbers(tmp_path / "1.jsonl", range(10, 13))
    write_numbers(tmp_path / ".hidden.jsonl", range(3))
    (tmp_path / "notes.txt").write_text("not data")
    batch = source.poll(2, 1)
    assert batch.rows is not None
    seen += column([batch.rows], "n")
    resumed = make(tmp_path, NUMBERS, follow=True)
    seen += column(drain(resumed, position=batch.position)[0], "n")
    with gzip.open(tmp_path / "0.jsonl.gz", "wt") as file:
        file.write('{"n": 0}\n')
    batch = resumed.poll(10, 1)
    assert batch.rows is not None
    assert seen + column([batch.rows], "n") == [20, 21, 22, 10, 11, 12, 30, 31, 32, 0]


def test_csv_that_is_followed_waits_for_its_header_and_its_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n,te")
    source = make(path, NUMBERS, follow=True)
    assert drain(source)[0] == []
    steps = ["xt\n1,one\n2,", '"two\nli', 'nes"\n', "3,three\n"]
    expected = [[(1, "one")], [], [(2, "two\nlines")], [(3, "three")]]
    for step, rows in zip(steps, expected, strict=True):
        with path.open("a") as file:
            file.write(step)
        batch = source.poll(10, 0.5)
        found = [] if batch.rows is None else [tuple(row.values()) for row in batch.rows.table.to_pylist()]
        assert found == rows


def test_compressed_data_that_breaks_off_or_is_damaged_gives_what_came_before(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f'{{"n": {n}}}\n' for n in range(1000)).encode())
    for name, data, code in (
        ("cut", whole[:-300], "truncated_file"),
        ("bad", whole[:-8] + b"\0" * 8, "corrupt_file"),
        ("none", b"no gzip at all", "corrupt_file"),
    ):
        path = tmp_path / f"{name}.jsonl.gz"
        path.write_bytes(data)
        batches, dead, position = drain(make(path, NUMBERS))
        assert column(batches, "n") == list(range(len(column(batches, "n"))))
        assert drain(make(path, NUMBERS), position=position)[:2] == ([], [])
        assert code in [letter.code for letter in dead]


def test_a_file_that_is_no_parquet_is_one_dead_letter_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("nothing of the kind")
    pq.write_table(pa.table({"n": pa.array([1, 2], pa.int32()), "text": ["x", None]}), tmp_path / "b.parquet")
    batches, dead, _ = drain(make(tmp_path, NUMBERS))
    assert column(batches, "n") == [1, 2]
    assert [letter.code for letter in dead] == ["corrupt_file"]


def test_offsets_of_time_zones_and_the_byte_order_mark_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfat,n\r\n2024-01-01T02:00:00+02:00,1\r\n2024-01-01 01:00:00,2\r\n")
    source = make(path, clock=VirtualClock(1_800_000_000_000), event_time=EventTime("at"))
    rows = concat(drain(source)[0])
    assert source.schema == RowSchema((Column("at", "TIMESTAMP_LTZ(3)"), Column("n", "BIGINT")))
    assert rows.event_times.to_pylist() == [1_704_067_200_000, 1_704_070_800_000]


def test_merging_keeps_ties_in_the_order_of_names_and_each_file_in_its_own(tmp_path: Path) -> None:
    schema = RowSchema((Column("at", "BIGINT"), Column("from", "STRING")))
    for name, times in {"a": [5, 3, 9, 9], "b": [1, 5, 9], "c": [5, 4, 20]}.items():
        lines = "".join(json.dumps({"at": time * 10**12, "from": name}) + "\n" for time in times)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    for size in (1, 2, 100):
        source = make(tmp_path / "*.jsonl", schema, event_time=EventTime("at", historical=True))
        rows = concat(drain(source, size)[0])
        assert [(time // 10**12, name) for time, name in zip(rows.event_times.to_pylist(), rows.table["from"].to_pylist(), strict=True)] == [
            (1, "b"), (5, "a"), (3, "a"), (5, "b"), (5, "c"), (4, "c"), (9, "a"), (9, "a"), (9, "b"), (20, "c"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda folder: make(folder / "none.jsonl"), NotFoundError, "none.jsonl"),
        (lambda folder: make(folder / "*.jsonl"), NotFoundError, "matches"),
        (lambda folder: make(folder / "what.bin"), InvalidDeclarationError, "suffix"),
        (lambda folder: make(folder / "a.csv", NUMBERS, key=("m",)), InvalidDeclarationError, "Use one of: n, text"),
        (lambda folder: make(folder / "a.csv", event_time=EventTime("l")), InvalidDeclarationError, "event time"),
    ],
)
def test_mistakes_of_the_declaration_are_named(
    tmp_path: Path, build: Callable[[Path], Source], error: type[Exception], words: str
) -> None:
    (tmp_path / "what.bin").write_text("")
    (tmp_path / "a.csv").write_text("l,n\ntrue,1\n")
    with pytest.raises(error, match=words):
        build(tmp_path).open(None)


def test_option_models_carry_the_camel_case_of_the_yaml() -> None:
    block = Options.model_validate({"path": "x", "maxRecordBytes": 1024, "follow": True})
    assert block.max_record_bytes == 1024
    documented = Options.model_json_schema(by_alias=True)["properties"]
    assert all("description" in field for field in documented.values())
