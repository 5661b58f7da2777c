"""The table of the tests' time, from a report of pytest's."""

from pathlib import Path

import pytest

from headrace.testing.time_per_folder import BEGIN, END, main, put_into, read, report, table

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.log.test_kafka.TestKafka" name="test_one[a]" time="3.5"><properties>
  <property name="server" value="1"/><property name="cpu_seconds" value="2.5"/></properties></testcase>
<testcase classname="tests.kinds.test_plan" name="test_two" time="1.25"><properties>
  <property name="cpu_seconds" value="1.0"/></properties></testcase>
<testcase classname="tests.kinds.test_plan" name="test_three" time="30"><properties>
  <property name="cpu_seconds" value="21.0"/></properties></testcase>
</testsuite></testsuites>"""
TABLE = """| folder | tests | seconds | of CPU |
| --- | ---: | ---: | ---: |
| `tests/kinds/` | 2 | 31 | 22 |
| `tests/log/` | 1 | 4 | 2 |
| all | 3 | 35 | 24 |"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tests.xml").write_text(REPORT, "utf-8")
    return tmp_path / "tests.xml"


def test_folders_are_summed_the_longest_first(path: Path) -> None:
    assert table(read(path)) == TABLE


def test_the_report_names_the_slowest_and_what_is_slow_without_a_marker(path: Path) -> None:
    _, slowest, unmarked = report(read(path)).split("\n\n")
    assert [line.rpartition(".")[2] for line in slowest.splitlines()[1:]] == ["test_three", "test_one[a]", "test_two"]
    assert [line.rpartition(".")[2] for line in unmarked.splitlines()[1:]] == ["test_three"]


def test_the_table_of_a_document_is_replaced(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}old{END}\nafter\n", "utf-8")
    for _ in range(2):
        main([str(path), str(document)])
        assert document.read_text("utf-8") == f"before\n{BEGIN}{TABLE}{END}\nafter\n"
    assert TABLE in capsys.readouterr().out


def test_a_document_without_a_place_for_it_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("text", "utf-8")
    with pytest.raises(ValueError, match="time per folder"):
        put_into(tmp_path / "page.md", read(path))


def test_contributing_has_a_place_for_it() -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    assert BEGIN in text
    assert END in text
