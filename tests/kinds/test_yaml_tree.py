"""YAML text → trees with places."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.kinds.document import Document
from headrace.kinds.loader import load_documents
from headrace.kinds.yaml_tree import MAX_BYTES, MAX_NODES, parse

PRINTABLE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PRINTABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4),
    max_leaves=25,
)


def only(text: str) -> Document:
    documents, mistakes = parse(text, "f.yaml")
    assert mistakes == []
    (document,) = documents
    return document


@settings(max_examples=50, deadline=None)
@given(PLAIN.filter(lambda value: value is not None))
def test_json_is_read_as_json_says(value: object) -> None:
    assert only(json.dumps(value, ensure_ascii=False)).root.plain() == value


@settings(max_examples=50, deadline=None)
@given(PLAIN.filter(lambda value: value is not None))
def test_what_yaml_writes_is_read_back(value: object) -> None:
    assert only(yaml.safe_dump(value, allow_unicode=True, default_style='"')).root.plain() == value


@given(st.text())
def test_arbitrary_text_gives_documents_and_mistakes_and_nothing_else(text: str) -> None:
    documents, mistakes = parse(text, "f.yaml")
    assert all(mistake.file == "f.yaml" for mistake in mistakes)
    for document in documents:
        json.dumps(document.root.plain())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2024-02-01", "2024-02-01"),
        ("0123", 123),
        ("0o17", 15),
        ("0x1F", 31),
        ("5e-5", 5e-5),
        (".5", 0.5),
        ("'16'", "16"),
        ("!!str 16", "16"),
        ("True", True),
        ("1.2.3", "1.2.3"),
        ("1_000", "1_000"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert only(f"x: {text}").root.plain() == {"x": value}


def test_json_with_escaped_pairs_is_read() -> None:
    assert only(json.dumps({"a": "\U0001f600 é"})).root.plain() == {"a": "\U0001f600 é"}


def test_every_node_knows_its_place() -> None:
    document = only("a:\n  - b: 1\n    c: two\n")
    place = document.place(("a", 0, "c"))
    assert (place.line, place.column) == (3, 8)
    key = document.place(("a", 0, "c"), of_key=True)
    assert (key.line, key.column) == (3, 5)
    missing = document.place(("a", 0, "d", "e"))
    assert (missing.line, missing.column) == (2, 5)


def test_several_documents_of_a_file_are_read_and_empty_ones_left_out() -> None:
    documents, mistakes = parse("a: 1\n---\n---\n# nothing\n---\nb: 2\n", "f.yaml")
    assert mistakes == []
    assert [document.root.plain() for document in documents] == [{"a": 1}, {"b": 2}]


def test_merged_keys_stand_behind_own_ones() -> None:
    assert only("base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  y: 3\n").root.plain() == {
        "base": {"x": 1, "y": 2},
        "own": {"x": 1, "y": 3},
    }


def test_a_billion_laughs_are_refused() -> None:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    _, mistakes = parse("\n".join(lines), "f.yaml")
    assert [mistake.message for mistake in mistakes] == [f"more than {MAX_NODES} values, aliases written out"]
    assert mistakes[0].line == 7


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: &x [*x]\n", 2, "*x refers to itself"),
        ("[" * 70, 1, "nested more than 64 deep"),
        ("a:\n b: !!python/name:os.system x\n", 2, "the tag tag:yaml.org,2002:python/name:os.system is not allowed"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key must be plain text"),
        ("a: 1\na: 2\n", 2, "duplicate key 'a'; first in line 1"),
        ("a: [1\n", 2, "not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("<<: 3\n", 1, "<< needs a mapping or a list of mappings"),
    ],
)
def test_what_is_refused_has_its_line(text: str, line: int, message: str) -> None:
    _, mistakes = parse(text, "f.yaml")
    assert [(mistake.line, mistake.message) for mistake in mistakes] == [(line, message)]


def test_documents_before_a_syntax_error_are_read() -> None:
    documents, mistakes = parse("a: 1\n---\nb: [\n", "f.yaml")
    assert [document.root.plain() for document in documents] == [{"a": 1}]
    assert len(mistakes) == 1


def test_folders_globs_and_files_are_each_read_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.yaml", "a.yml", "sub/c.yaml", "config.json", "note.txt", ".hidden.yaml"):
        (tmp_path / name).write_text(f"name: {name}\n", "utf-8")
    documents, mistakes = load_documents([tmp_path, str(tmp_path / "*.yaml"), tmp_path / "b.yaml"])
    assert mistakes == []
    assert [Path(document.file).name for document in documents] == ["a.yml", "b.yaml"]
    below, _ = load_documents([str(tmp_path / "**" / "*.yaml")])
    assert [Path(document.file).name for document in below] == ["b.yaml", "c.yaml"]
    assert below[1].base_dir == str(tmp_path / "sub")


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: 1\n")))
    documents, _ = load_documents(["-"])
    assert [(document.file, document.root.plain()) for document in documents] == [("<stdin>", {"a": 1})]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: \xff\n", "not UTF-8 at byte 8"),
        (b" " * (MAX_BYTES + 1), "larger than 4 MiB"),
        (b"a: \x00\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_text_is_a_mistake(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(data)
    documents, mistakes = load_documents([file])
    assert documents == []
    assert [mistake.message.startswith(message) for mistake in mistakes] == [True]
    assert mistakes[0].file == str(file)


def test_a_path_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _, mistakes = load_documents([tmp_path / "no.yaml", tmp_path / "empty", str(tmp_path / "x*.yaml")])
    assert [mistake.message for mistake in mistakes] == [
        "no such file",
        "holds no YAML",
        "no such file",
    ]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes("a: 1\n".encode("utf-8-sig"))
    documents, _ = load_documents([tmp_path])
    assert documents[0].root.plain() == {"a": 1}
