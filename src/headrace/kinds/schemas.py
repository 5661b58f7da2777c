"""JSON Schemas of the kinds, for editors and the REST doors."""

from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from headrace.kinds.fields import DURATION_PATTERN, MAX_NAME, duration_text
from headrace.kinds.kind import Kind
from headrace.kinds.registry import KINDS

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": MAX_NAME}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def kind_schema(kind: Kind) -> Schema:
    """The schema of one document of a kind."""
    models: list[type[BaseModel]] = [kind.variant(name) for name in kind.variants()]
    where, whole = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    specs = [where[model, "validation"] for model in models]
    schema: Schema = {
        "$schema": DIALECT,
        "title": kind.name,
        "description": models[0].__doc__ or kind.name,
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"enum": list(kind.api_versions)},
            "kind": {"const": kind.name},
            "metadata": _metadata(),
            "spec": specs[0] if len(specs) == 1 else {"anyOf": specs},
            "status": {"type": "object", "description": "Written by Headrace; ignored when applied."},
        },
    }
    return {**schema, "$defs": _tidy(whole.get("$defs", {}))}


def combined_schema() -> Schema:
    """The schema of a document of any kind: one file for editors that know one schema per folder."""
    definitions: Schema = {}
    documents: list[Schema] = []
    for kind in KINDS.values():
        schema = kind_schema(kind)
        inner = {f"{kind.name}.{name}": part for name, part in cast("Schema", schema.pop("$defs")).items()}
        schema.pop("$schema")
        definitions |= cast("Schema", _renamed(inner, kind.name))
        definitions[kind.name] = _renamed(schema, kind.name)
        condition = {"properties": {"kind": {"const": kind.name}}, "required": ["kind"]}
        documents.append({"if": condition, "then": {"$ref": f"#/$defs/{kind.name}"}})
    return {
        "$schema": DIALECT,
        "title": "Headrace",
        "description": "Any Headrace resource.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": list(KINDS)}},
        "allOf": documents,
        "$defs": definitions,
    }


def _metadata() -> Schema:
    return {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {**_NAME, "description": "Name of the resource within its kind and namespace."},
            "namespace": {**_NAME, "default": "default", "description": "Namespace; namespaces do not see each other."},
            "labels": {**_TEXTS, "description": "Labels for selection."},
            "annotations": {**_TEXTS, "description": "Annotations for people and tools."},
        },
    }


def _tidy(value: Any) -> Any:
    """Defaults as they are written: durations as text; those of whole blocks are said by the blocks' own fields."""
    if isinstance(value, list):
        return [_tidy(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    given = cast("Schema", value)
    tidy = {key: _tidy(item) for key, item in given.items() if not _needless(key, item)}
    default = tidy.get("default")
    if isinstance(default, int) and DURATION_PATTERN in _patterns(given):
        tidy["default"] = duration_text(default)
    return tidy


def _needless(key: str, item: Any) -> bool:
    """Titles that repeat the key; defaults of whole blocks."""
    return (key == "title" and isinstance(item, str)) or (key == "default" and (item is None or isinstance(item, dict)))


def _patterns(schema: Schema) -> list[str]:
    return [part["pattern"] for part in (schema, *schema.get("anyOf", ())) if "pattern" in part]


def _renamed(value: Any, kind: str) -> Any:
    if isinstance(value, list):
        return [_renamed(item, kind) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return {
        key: item.replace("#/$defs/", f"#/$defs/{kind}.")
        if key == "$ref" and isinstance(item, str)
        else _renamed(item, kind)
        for key, item in cast("Schema", value).items()
    }
