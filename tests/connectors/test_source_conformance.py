"""Every source of the house keeps the port's promises."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.connectors.http.inbox import accept, inbox_topic
from headrace.connectors.registry import open_source
from headrace.connectors.source import EventTime, Source, SourceContext, SourceOptions
from headrace.events.schema import Column, RowSchema
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id
from headrace.testing.source_conformance import SourceConformance

SCHEMA = RowSchema((Column("at", "TIMESTAMP_LTZ(3)"), Column("n", "BIGINT"), Column("text", "STRING")))
TIME = EventTime("at", out_of_orderness_ms=5_000)


def moment(second: int) -> str:
    return f"2023-01-01T00:{second // 60 % 60:02d}:{second % 60:02d}Z"


def json_line(n: int) -> str:
    """Every ninth line is at fault, times go back and forth a little, every seventh line is blank."""
    if n % 9 == 4:
        return '{"at": "' + moment(n) + '", "n": "many"}\n'
    text = json.dumps({"at": moment(n - n % 3), "n": n, "text": f"é {n}"}) + "\n"
    return text + ("\n" if n % 7 == 0 else "")


def csv_line(n: int) -> str:
    """Quoted newlines and commas; every ninth record has a field too few."""
    return f"{moment(n)},{n}\n" if n % 9 == 4 else f'{moment(n)},{n},"a\n""b"", {n}"\n'


def options(path: Path, **more: object) -> SourceOptions:
    return SourceOptions(
        connector_id("things"), "file", {"path": str(path), **more}, schema=SCHEMA, key=("text",), event_time=TIME
    )


class FileSuite(SourceConformance):
    folder: Path
    pattern = "*"
    follow = False

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.write()

    def write(self) -> None:
        raise NotImplementedError

    def make_source(self) -> Source:
        path = self.folder / self.pattern
        return open_source(options(path, follow=self.follow), SourceContext(clock=VirtualClock()))


class TestJsonLines(FileSuite):
    pattern = "one.jsonl"

    def write(self) -> None:
        (self.folder / "one.jsonl").write_text("".join(json_line(n) for n in range(120)))


class TestGzippedJsonLines(FileSuite):
    pattern = "one.jsonl.gz"

    def write(self) -> None:
        data = "".join(json_line(n) for n in range(120)).encode()
        (self.folder / "one.jsonl.gz").write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))


class TestCsv(FileSuite):
    pattern = "one.csv"

    def write(self) -> None:
        (self.folder / "one.csv").write_text("at,n,text\n" + "".join(csv_line(n) for n in range(120)))


class TestParquet(FileSuite):
    pattern = "one.parquet"

    def write(self) -> None:
        rows = [{"at": moment(n), "n": str(n) if n % 9 else "many", "text": f"t {n}"} for n in range(120)]
        pq.write_table(pa.Table.from_pylist(rows), self.folder / "one.parquet", row_group_size=17)


class TestMergedGlob(FileSuite):
    """Files of three formats, merged by event time, some lines equal in time, some at fault."""

    def write(self) -> None:
        (self.folder / "a.jsonl").write_text("".join(json_line(n) for n in range(0, 90, 2)))
        (self.folder / "b.csv").write_text("at,n,text\n" + "".join(csv_line(n) for n in range(0, 90, 3)))
        rows = [{"at": moment(n), "n": n, "text": f"t {n}"} for n in range(0, 90, 5)]
        pq.write_table(pa.Table.from_pylist(rows), self.folder / "c.parquet")
        (self.folder / "empty.jsonl").write_text("")


class TestFollowedFolder(FileSuite):
    pattern = ""
    follow = True

    def write(self) -> None:
        for name, start in (("b.jsonl", 40), ("a.jsonl", 0), ("c.jsonl", 80)):
            lines = "".join(json_line(n) for n in range(start, start + 40))
            (self.folder / name).write_text(lines + '{"at": "2023-01-01T00:0')


class TestGenerator(SourceConformance):
    def make_source(self) -> Source:
        fields = [
            {"name": "at", "kind": "timestamp", "start": "2020-01-01T00:00:00Z", "interval": "1s", "disorder": "3s"},
            {"name": "n", "kind": "sequence"},
            {"name": "text", "kind": "choice", "values": ["a", "b", "c"]},
            {"name": "walk", "kind": "walk"},
        ]
        block = {"seed": 3, "count": 90, "fields": fields}
        made = SourceOptions(connector_id("made"), "generator", block, key=("text",), event_time=TIME)
        return open_source(made, SourceContext(clock=VirtualClock()))


class TestHttpInbox(SourceConformance):
    log: TopicLog

    @pytest.fixture(autouse=True)
    def _inbox(self, tmp_path: Path) -> object:
        self.clock = VirtualClock()
        self.log = open_log(tmp_path, clock=self.clock)
        self.options = SourceOptions(connector_id("pushed"), "http", {}, schema=SCHEMA, event_time=TIME)
        topic = inbox_topic(self.options)
        self.log.ensure_topic(topic)
        for n in range(60):
            body = json_line(n).strip().encode()
            records: list[NewRecord] = accept(self.options, body, "application/json", f"key {n}", self.clock.now_ms())
            self.log.commit(Commit(appends=[Append(topic.name, records)]))
        yield
        self.log.close()

    def make_source(self) -> Source:
        return open_source(self.options, SourceContext(log=self.log, clock=self.clock))
