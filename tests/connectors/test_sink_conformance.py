"""Every sink of the house keeps the port's promises."""

import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from headrace.connectors.registry import open_sink
from headrace.connectors.sink import Sink, SinkOptions
from headrace.connectors.stdout.options import Options as StdoutOptions
from headrace.connectors.stdout.sink import StdoutSink
from headrace.foundation.failpoints import armed
from headrace.testing.resource_ids import connector_id
from headrace.testing.sink_conformance import SinkConformance, sample_records


class FileSuite(SinkConformance):
    folder: Path
    format = "json"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "out"

    def reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def make_sink(self) -> Sink:
        block = {"path": "out", "format": self.format, "rollRecords": 10, "rollBytes": 150, "metadata": True}
        return open_sink(SinkOptions(connector_id("rows"), "file", block, base_dir=self.folder.parent))

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if not path.name.startswith("."))


class TestJsonFiles(FileSuite):
    def seen(self) -> list[int]:
        return [json.loads(line)["n"] for path in self.files() for line in path.read_text().splitlines()]

    def test_nothing_hidden_is_left_when_the_input_is_complete(self) -> None:
        self._run([30, 30], frozenset({3, 7, 11}))
        assert list(self.folder.glob(".*")) == []

    def test_a_file_is_seen_only_when_it_is_complete(self) -> None:
        self.reset()
        sink = self.make_sink()
        sink.recover(None)
        sink.write(sample_records(3))
        sink.prepare()
        sink.publish()
        first = [path.name for path in self.files()]
        sink.write(sample_records(2, 3))
        assert [path.name for path in self.files()] == first
        sink.prepare(end=True)
        sink.publish()
        assert self.seen() == [0, 1, 2, 3, 4]
        sink.close()

    def test_a_sink_that_lost_its_state_overwrites_no_file(self) -> None:
        self._run([5], frozenset())
        sink = self.make_sink()
        sink.recover(None)
        sink.write(sample_records(5, 5))
        sink.prepare(end=True)
        sink.publish()
        sink.close()
        assert self.seen() == list(range(10))


class TestParquetFiles(FileSuite):
    format = "parquet"

    def seen(self) -> list[int]:
        return [n for path in self.files() for n in pq.read_table(path).column("n").to_pylist()]

    def test_columns_are_typed(self) -> None:
        self._run([3], frozenset())
        table = pq.read_table(self.files()[0])
        assert [str(kind) for kind in table.schema.types] == ["string", "int64", "int64", "string"]


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("kind", ["json", "parquet"])
@pytest.mark.parametrize("point", ["sink.prepared", "sink.renamed"])
@pytest.mark.parametrize("nth", range(1, 7))
def test_kills_inside_prepare_and_publish_lose_and_double_nothing(
    tmp_path: Path, kind: str, point: str, nth: int
) -> None:
    def make() -> Sink:
        block = {"path": "out", "format": kind, "rollRecords": 4}
        return open_sink(SinkOptions(connector_id("rows"), "file", block, base_dir=tmp_path))

    passed = 0

    def kill() -> None:
        nonlocal passed
        passed += 1
        if passed == nth:
            raise Killed

    prepared, offset = None, 0
    with armed(point, kill):
        while offset < 30:
            sink = make()
            try:
                sink.recover(prepared)
                while offset < 30:
                    sink.write(sample_records(5, offset))
                    prepared, offset = sink.prepare(end=offset == 25), offset + 5
                    sink.publish()
            except Killed:
                pass
            finally:
                sink.close()
    last = make()
    last.recover(prepared)
    last.close()
    numbers: list[int] = []
    for path in sorted((tmp_path / "out").glob("rows-*")):
        numbers += (
            [json.loads(line)["n"] for line in path.read_text().splitlines()]
            if kind == "json"
            else pq.read_table(path).column("n").to_pylist()
        )
    assert numbers == list(range(30))


class TestStdout(SinkConformance):
    exactly_once = False
    out = io.BytesIO()

    def reset(self) -> None:
        self.out = io.BytesIO()

    def make_sink(self) -> Sink:
        return StdoutSink(StdoutOptions(), self.out)

    def seen(self) -> list[int]:
        return [json.loads(line)["n"] for line in self.out.getvalue().splitlines()]
