"""A folder of documents: what appears, changes, moves and vanishes, each once."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.documents.options import Options, bytes_of
from headrace.connectors.documents.source import columns_of, open_source
from headrace.connectors.source import EventTime, Source, SourceContext, SourceOptions
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import InvalidDeclarationError, NotFoundError, UnavailableError
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id
from headrace.testing.source_conformance import SourceConformance

SCHEMA = RowSchema((Column("fee", "DECIMAL(6, 2)"),))


class TestConformance(SourceConformance):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        for n in range(30):
            (tmp_path / f"{n:02d}.md").write_text(f"# Title {n}\n\nText {n}." if n % 9 else "")
        lines = [
            f'{{"id": {n}, "body": "line {n}", "fee": {"1.5" if n % 7 else chr(34) + "dear" + chr(34)}}}'
            for n in range(40)
        ]
        (tmp_path / "many.jsonl").write_text("\n".join(lines) + "\nnot json\n")
        self.root = tmp_path

    def make_source(self) -> Source:
        options = {"path": str(self.root), "follow": False}
        source = SourceOptions(connector_id("docs"), "documents", options, schema=SCHEMA, event_time=EventTime(None))
        return open_source(source, SourceContext(None, VirtualClock(), lambda: dict(self.saved())))


def test_a_markdown_file_becomes_a_row(folder):
    folder.write(
        "cards/fees.md",
        "---\ntitle: Fees\nproduct: cards\nfee: 2.5\neffective_at: 2026-03-01\n---\n# Other\n\nTwo euros.\n",
    )
    (row,) = folder.new()
    assert (row["path"], row["title"], row["body"], row["media"]) == (
        "cards/fees.md",
        "Fees",
        "# Other\n\nTwo euros.\n",
        "markdown",
    )
    assert (row["operation"], row["product"], str(row["fee"])) == ("upsert", "cards", "2.50")
    assert row["effective_at"].isoformat() == "2026-03-01T00:00:00+00:00"
    assert row["modified_at"].timestamp() == pytest.approx((folder.root / "cards/fees.md").stat().st_mtime, abs=0.001)


def test_a_title_is_the_first_heading_else_the_files_name(folder):
    folder.write("a.md", "\n## Small\n\n# Large #\n\nText.")
    folder.write("b.md", "Text alone.")
    folder.write("c.txt", "# Text alone.")
    assert [row["title"] for row in folder.new()] == ["Large", "b", "c"]


def test_changes_appear_once(folder):
    path = folder.write("a.md", "One.")
    folder.write("b.md", "Two.")
    assert folder.said() == [("upsert", "a.md"), ("upsert", "b.md")]
    assert folder.said() == []
    folder.write("a.md", "Three.")
    assert folder.said() == [("upsert", "a.md")]
    path.unlink()
    assert folder.said() == [("delete", "a.md")]
    assert folder.said() == []
    folder.write("a.md", "Three.")
    assert folder.said() == [("upsert", "a.md")]


def test_a_deletion_says_once_more_what_the_document_said_of_itself(folder):
    path = folder.write("a.md", "---\nfee: 2.5\nproduct: cards\n---\nOne.")
    lines = folder.write("b.jsonl", '{"id": 1, "body": "One.", "fee": 3}')
    folder.new()
    folder.restart()
    path.unlink()
    lines.unlink()
    rows = folder.new()
    assert [(row["path"], row["operation"], row["body"]) for row in rows] == [
        ("a.md", "delete", None),
        ("b.jsonl#1", "delete", None),
    ]
    assert [(str(row["fee"]), row["product"]) for row in rows] == [("2.50", "cards"), ("3.00", None)]


def test_a_restart_gives_nothing_again(folder):
    for n in range(5):
        folder.write(f"{n}.md", f"Text {n}.")
    assert len(folder.new()) == 5
    folder.restart()
    assert folder.said() == []
    folder.write("3.md", "New.")
    (folder.root / "4.md").unlink()
    folder.restart()
    assert sorted(folder.said()) == [("delete", "4.md"), ("upsert", "3.md")]


def test_a_file_that_was_only_touched_is_no_change(folder):
    path = folder.write("a.md", "One.")
    folder.new()
    os.utime(path, (1, 1))
    assert folder.said() == []
    folder.restart()
    assert folder.said() == []


def test_a_move_is_a_delete_and_an_upsert(folder):
    path = folder.write("a.md", "One.")
    folder.new()
    path.rename(folder.root / "b.md")
    assert sorted(folder.said()) == [("delete", "a.md"), ("upsert", "b.md")]


def test_a_file_that_is_still_written_waits(folder):
    path = folder.write("a.md", "One.")
    for text in ("One and", "One and a", "One and a half."):
        while not (batch := folder.source.poll(10, 0)).waiting:
            assert batch.rows is None
        path.write_text(text)
        folder.clock.advance(0.5)
    assert [row["body"] for row in folder.new()] == ["One and a half."]


def test_a_file_that_was_left_alone_for_long_is_read_at_once(folder):
    path = folder.write("a.md", "One.")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    while (batch := folder.source.poll(10, 0)).rows is None:
        assert not batch.waiting
    assert batch.rows.num_rows == 1


def test_hidden_temporary_and_unknown_files_are_passed_over(folder):
    for name in (".hidden.md", ".git/a.md", "a.md~", "#a.md#", ".a.md.swp", "a.md.tmp", "~$a.md", "photo.jpeg", "4913"):
        folder.write(name, "One.")
    assert folder.said() == []


def test_the_glob_chooses(folder, tmp_path):
    for name in ("a.md", "x/b.md", "x/y/c.md", "x/y/d.txt"):
        folder.write(name, "One.")
    folder.options.options["glob"] = "x/**/*.md"
    folder.restart()
    assert folder.said() == [("upsert", "x/b.md"), ("upsert", "x/y/c.md")]


def test_links_out_of_the_folder_are_not_followed(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("Secret.")
    (folder.root / "secret.md").symlink_to(outside / "secret.md")
    (folder.root / "all").symlink_to(outside)
    (folder.root / "loop").symlink_to(folder.root)
    (folder.root / "broken.md").symlink_to(folder.root / "nothing.md")
    folder.write("a.md", "One.")
    (folder.root / "b.md").symlink_to("a.md")
    assert folder.said() == [("upsert", "a.md"), ("upsert", "b.md")]


def test_links_into_a_hidden_folder_are_followed_as_config_maps_need(folder):
    folder.write("..one/sub/a.md", "One.")
    (folder.root / "..data").symlink_to("..one")
    (folder.root / "sub").symlink_to("..data/sub")
    assert folder.said() == [("upsert", "sub/a.md")]
    folder.write("..two/sub/a.md", "Two.")
    (folder.root / "..new").symlink_to("..two")
    (folder.root / "..new").rename(folder.root / "..data")
    assert [row["body"] for row in folder.new()] == ["Two."]


# -- folders that are out of reach


def away(folder: Any, part: str) -> None:
    for _ in range(2):
        with pytest.raises(UnavailableError, match=part):
            folder.new()


def test_a_folder_that_is_missing_keeps_its_documents(folder):
    folder.write("a.md", "One.")
    folder.new()
    folder.root.rename(folder.root.with_name("elsewhere"))
    away(folder, "policies cannot be reached")
    folder.restart()
    away(folder, "policies cannot be reached")
    folder.root.with_name("elsewhere").rename(folder.root)
    assert folder.said() == []


def test_a_folder_that_is_suddenly_another_and_empty_keeps_its_documents(folder):
    folder.write("a.md", "One.")
    folder.new()
    folder.root.rename(folder.root.with_name("elsewhere"))
    folder.root.mkdir()
    away(folder, "unmounted")
    folder.restart()
    away(folder, "unmounted")
    folder.root.rmdir()
    folder.root.with_name("elsewhere").rename(folder.root)
    assert folder.said() == []


def test_a_folder_that_was_emptied_deletes_its_documents(folder):
    folder.write("a.md", "One.")
    folder.new()
    (folder.root / "a.md").unlink()
    assert folder.said() == [("delete", "a.md")]


def test_a_mount_point_below_keeps_its_documents_and_the_rest_goes_on(folder):
    folder.write("mounted/deep/a.md", "One.")
    folder.write("b.md", "Two.")
    folder.new()
    (folder.root / "mounted").rename(folder.root.with_name("elsewhere"))
    (folder.root / "mounted").mkdir()
    folder.write("b.md", "Three.")
    folder.clock.advance(1)
    rows: list[dict[str, Any]] = []

    def read_on() -> None:
        while True:
            batch = folder.source.poll(10, 2.0)
            rows.extend(batch.rows.table.to_pylist() if batch.rows else [])

    with pytest.raises(UnavailableError, match="policies/mounted cannot be reached"):
        read_on()
    assert [row["body"] for row in rows] == ["Three."]
    (folder.root / "mounted").rmdir()
    folder.root.with_name("elsewhere").rename(folder.root / "mounted")
    assert folder.said() == []


def test_a_folder_below_that_was_removed_deletes_its_documents(folder):
    folder.write("x/a.md", "One.")
    folder.write("b.md", "Two.")
    folder.new()
    shutil.rmtree(folder.root / "x")
    assert folder.said() == [("delete", "x/a.md")]
    assert not any("x" in key.split("/") for key in folder.saved)


def test_a_folder_that_never_was_there_is_said_at_once(tmp_path):
    source = open_source(
        SourceOptions(connector_id("docs"), "documents", {"path": "polices"}, base_dir=tmp_path), SourceContext()
    )
    with pytest.raises(NotFoundError, match="the folder polices does not exist"):
        source.open(None)


# -- JSON lines


def test_lines_are_documents(folder):
    folder.write(
        "faq.jsonl", '{"id": 1, "body": "One.", "product": "cards"}\n\n{"path": "own", "title": "T", "body": "Two."}\n'
    )
    rows = folder.new()
    assert [(row["path"], row["body"], row["title"], row["product"]) for row in rows] == [
        ("faq.jsonl#1", "One.", None, "cards"),
        ("own", "Two.", "T", None),
    ]


def test_a_file_of_lines_gives_what_changed_in_it(folder):
    folder.write("faq.jsonl", '{"id": 1, "body": "One."}\n{"id": 2, "body": "Two."}\n{"id": 3, "body": "Three."}\n')
    folder.new()
    folder.write("faq.jsonl", '{"id": 1, "body": "One."}\n{"id": 2, "body": "New."}\n{"id": 4, "body": "Four."}\n')
    assert folder.said() == [("upsert", "faq.jsonl#2"), ("upsert", "faq.jsonl#4"), ("delete", "faq.jsonl#3")]
    folder.restart()
    assert folder.said() == []
    (folder.root / "faq.jsonl").unlink()
    assert folder.said() == [("delete", f"faq.jsonl#{n}") for n in (1, 2, 4)]
    assert not any("faq" in key for key in folder.saved)


def test_while_a_line_cannot_be_read_nothing_of_its_file_is_deleted(folder):
    folder.write("faq.jsonl", '{"id": 1, "body": "One."}\n{"id": 2, "body": "Two."}\n')
    folder.new()
    folder.write("faq.jsonl", '{"id": 1, "body": "One."}\n{"id": 2, "bo\n')
    assert folder.codes() == ["malformed_json"]
    folder.write("faq.jsonl", '{"id": 1, "body": "New."}\n{"id": 2, "bo\n')
    assert folder.said() == [("upsert", "faq.jsonl#1")]
    assert folder.letters == []
    folder.write("faq.jsonl", '{"id": 1, "body": "New."}\n')
    assert folder.said() == [("delete", "faq.jsonl#2")]


def test_lines_may_delete(folder):
    folder.write("faq.jsonl", '{"id": 1, "operation": "delete"}\n')
    assert folder.said() == [("delete", "faq.jsonl#1")]


# -- declarations


def test_columns_that_every_document_has_may_be_declared_as_they_are():
    assert columns_of(RowSchema((Column("path", "VARCHAR(200)"), Column("fee", "INT"))), "x").names[-1] == "fee"
    with pytest.raises(InvalidDeclarationError, match="documents column modified_at has type TIMESTAMP_LTZ"):
        columns_of(RowSchema((Column("modified_at", "STRING"),)), "x")


@pytest.mark.parametrize(
    ("text", "size"), [("20MB", 20_000_000), ("2KB", 2_000), ("1MiB", 1 << 20), ("1Gi", 1 << 30), ("5", 5)]
)
def test_sizes(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    "options", [{"pollInterval": "soon"}, {"pollInterval": "0s"}, {"maxBytes": "big"}, {"path": ""}, {"x": 1}]
)
def test_options_that_are_wrong_are_refused(options):
    with pytest.raises(ValueError):
        Options.model_validate({"path": "a", **options})


def test_a_folder_can_be_read_once(make_folder):
    folder = make_folder(follow=False)
    folder.write("a.md", "One.")
    assert folder.source.bounded
    assert folder.said() == [("upsert", "a.md")]
    assert folder.source.poll(10, 0).end


def test_of_lines_of_one_document_the_last_counts_and_the_others_are_duplicates(folder):
    folder.write("faq.jsonl", '{"id": 1, "body": "Old."}\n{"id": 2, "body": "Two."}\n{"id": 1, "body": "New."}\n')
    assert sorted((row["path"], row["body"]) for row in folder.new()) == [
        ("faq.jsonl#1", "New."),
        ("faq.jsonl#2", "Two."),
    ]
    assert folder.duplicates == 1
    folder.restart()
    folder.write("faq.jsonl", '{"id": 1, "body": "Old."}\n{"id": 3, "body": "Three."}\n{"id": 1, "body": "New."}\n')
    assert folder.said() == [("upsert", "faq.jsonl#3"), ("delete", "faq.jsonl#2")]
    assert folder.duplicates == 1
    folder.write("faq.jsonl", '{"id": 3, "body": "Old."}\n{"id": 3, "body": "Three."}\n{"id": 1, "body": "New."}\n' * 2)
    folder.new()
    assert folder.duplicates == 4
