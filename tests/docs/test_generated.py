"""What is made of the kinds is what is committed, and says what the kinds say."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.kinds.generate import generated, main
from headrace.kinds.registry import KINDS

ROOT = Path(__file__).resolve().parents[2]
FILES = generated()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_generated_file_is_up_to_date(name: str) -> None:
    path = ROOT / "docs" / name
    assert path.is_file(), "run: python -m headrace.kinds.generate"
    assert path.read_text("utf-8") == FILES[name], "run: python -m headrace.kinds.generate"


def test_no_generated_file_is_left_of_a_kind_that_is_gone() -> None:
    here = {
        str(path.relative_to(ROOT / "docs"))
        for folder in ("reference", "schemas")
        for path in (ROOT / "docs" / folder).iterdir()
    }
    assert here == set(FILES)


def test_generating_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    main(tmp_path)
    assert {name: (tmp_path / name).read_text("utf-8") for name in FILES} == dict(generated())


def test_every_field_says_what_it_does() -> None:
    tables = [
        line
        for name, text in FILES.items()
        if name.startswith("reference/")
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    assert len(tables) > 100
    assert [line for line in tables if re.search(r"\|\s*\|$", line)] == []


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _walk(item)


SCHEMAS = sorted(name for name in FILES if name.startswith("schemas/"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_reference_of_a_schema_leads_somewhere_and_every_default_is_one(name: str) -> None:
    schema = json.loads(FILES[name])
    references = [part["$ref"] for part in _walk(schema) if isinstance(part.get("$ref"), str)]
    assert references
    for reference in references:
        assert reference.removeprefix("#/$defs/") in schema["$defs"]
    for part in _walk(schema):
        if "default" in part and part.get("pattern") and part.get("type") == "string":
            assert re.search(part["pattern"], part["default"])


def test_the_schemas_know_every_kind() -> None:
    schema = json.loads(FILES["schemas/headrace.json"])
    assert schema["properties"]["kind"]["enum"] == list(KINDS)


def _accepts(schema: dict[str, Any], part: dict[str, Any], value: Any) -> bool:
    """The part of JSON Schema that these schemas use, types and ranges aside."""
    if "$ref" in part:
        return _accepts(schema, schema["$defs"][part["$ref"].removeprefix("#/$defs/")], value)
    for choice in ("anyOf", "oneOf"):
        if choice in part and not any(_accepts(schema, one, value) for one in part[choice]):
            return False
    if isinstance(value, dict) and "properties" in part:
        missing = set(part.get("required", ())) - set(value)
        unknown = set(value) - set(part["properties"]) if part.get("additionalProperties") is False else set()
        return (
            not missing
            and not unknown
            and all(_accepts(schema, part["properties"].get(key, {}), item) for key, item in value.items())
        )
    if isinstance(value, list) and "items" in part:
        return all(_accepts(schema, part["items"], item) for item in value)
    if isinstance(value, str) and part.get("type") == "string" and "pattern" in part:
        return bool(re.search(part["pattern"], value))
    return not ("enum" in part and value not in part["enum"]) and not ("const" in part and value != part["const"])


EXAMPLES = sorted(
    path for path in (ROOT / "examples").rglob("*.yaml") if "/." not in path.relative_to(ROOT).as_posix()
)  # not what a demo left


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_schemas_accept_the_examples(path: Path) -> None:
    documents = [one for one in yaml.load_all(path.read_text("utf-8"), yaml.BaseLoader) if one]
    assert documents
    for document in documents:
        schema = json.loads(FILES[f"schemas/{document['kind'].lower()}.json"])
        assert _accepts(schema, schema, document), document["metadata"]["name"]
        broken = {**document, "spec": {**document["spec"], "noSuchKey": 1}}
        assert not _accepts(schema, schema, broken)
