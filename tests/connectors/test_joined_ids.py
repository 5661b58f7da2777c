"""Ids and keys of several columns: different values never give the same text."""

import json
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.documents.known import Known, KnownDocument, document_key
from headrace.connectors.documents.lines import read_lines
from headrace.connectors.http.inbox import accept
from headrace.connectors.records.rows import joined as joined_columns
from headrace.connectors.registry import open_source
from headrace.connectors.source import SourceContext, SourceOptions
from headrace.foundation.ids import escaped, joined, parted, split_at
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

TEXTS = st.text(st.sampled_from("ab/\\#\n@:é"), max_size=6)
PAIRS = st.tuples(TEXTS, TEXTS)
COLLIDED = [("a/b", "c"), ("a", "b/c")]
"""Before they were escaped, both were `a/b/c`."""


@given(one=st.lists(TEXTS, min_size=2, max_size=4), other=st.lists(TEXTS, min_size=2, max_size=4))
def test_joined_texts_tell_what_they_were_joined_from(one: list[str], other: list[str]) -> None:
    assert parted(joined(one)) == one
    assert (joined(one) == joined(other)) == (one == other)


@given(TEXTS)
def test_a_single_text_stays_as_it_is(text: str) -> None:
    assert joined([text]) == text


def test_texts_without_special_characters_stay_as_they_are() -> None:
    assert joined(["north", "12", "2024-01-01T00:00:00Z"]) == "north/12/2024-01-01T00:00:00Z"


@given(before=TEXTS, behind=TEXTS, separator=st.sampled_from("#\n/"))
def test_an_escaped_text_ends_at_the_first_bare_separator(before: str, behind: str, separator: str) -> None:
    assert split_at(escaped(before, separator) + separator + behind, separator) == (before, behind)


@given(st.lists(PAIRS, min_size=1, max_size=8))
def test_columns_are_joined_as_texts_are(pairs: list[tuple[str, str]]) -> None:
    table = pa.table({"x": [x for x, _ in pairs], "y": [y for _, y in pairs]})
    assert joined_columns(table, ("x", "y")).to_pylist() == [joined(pair) for pair in pairs]


def pushed(x: str, y: str) -> tuple[str, str]:
    options = SourceOptions(connector_id("things"), "http", {}, id_columns=("x", "y"), key=("y", "x"))
    [record] = accept(options, json.dumps({"x": x, "y": y}).encode(), "application/json", None, 0)
    return record.id, record.key


@given(one=PAIRS, other=PAIRS)
def test_pushed_events_of_different_ids_stay_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert pushed(*one) == (f"things:{joined(one)}", joined(one[::-1]))
    assert (pushed(*one) == pushed(*other)) == (one == other)


@pytest.mark.parametrize("name", ["one.jsonl", "one.csv"])
def test_rows_of_different_ids_stay_apart(tmp_path: Path, name: str) -> None:
    lines = {
        "one.jsonl": [json.dumps({"x": x, "y": y}) for x, y in COLLIDED],
        "one.csv": ["x,y", *(f"{x},{y}" for x, y in COLLIDED)],
    }
    (tmp_path / name).write_text("\n".join([*lines[name], ""]))
    options = SourceOptions(
        connector_id("t"), "file", {"path": str(tmp_path / name)}, id_columns=("x", "y"), key=("x", "y")
    )
    source = open_source(options, SourceContext(clock=VirtualClock()))
    source.open(None)
    rows = source.poll(10, 0).rows
    source.close()
    assert rows is not None
    assert rows.ids.to_pylist() == ["t:a\\/b/c", "t:a/b\\/c"]
    assert rows.keys.to_pylist() == ["a\\/b/c", "a/b\\/c"]


@given(one=PAIRS, other=PAIRS)
def test_lines_of_different_files_are_different_documents(one: tuple[str, str], other: tuple[str, str]) -> None:
    paths = [line.path for file, name in (one, other) for line in read_lines(file, _line(name))]
    assert (paths[0] == paths[1]) == (one == other)


def _line(name: str) -> bytes:
    return msgspec.json.encode({"id": name + ".", "body": "text"})  # a document has a name


@given(one=PAIRS, other=PAIRS)
def test_forgetting_a_document_forgets_that_one_alone(one: tuple[str, str], other: tuple[str, str]) -> None:
    known = Known({})
    both = {pair: KnownDocument(pair[0], pair[1] + ".", "hash") for pair in (one, other)}
    known.put({document_key(entry.file, entry.path): entry for entry in both.values()})
    known.put({document_key(one[0], one[1] + "."): None})
    left = {(file, path) for file, documents in known.documents.items() for path in documents}
    assert left == {(file, path + ".") for file, path in both if (file, path) != one}
