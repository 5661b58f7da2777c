"""Types are found by entry point, and every field of their blocks is documented."""

import pytest
from pydantic import BaseModel

from headrace.connectors.registry import open_sink, open_source, options_model, sink_types, source_types
from headrace.connectors.sink import SinkOptions
from headrace.connectors.source import SourceContext, SourceOptions
from headrace.foundation.errors import InvalidDeclarationError
from headrace.testing.resource_ids import connector_id


def test_the_types_of_the_house_are_installed() -> None:
    assert {"file", "generator", "http"} <= set(source_types())
    assert {"file", "stdout", "webhook"} <= set(sink_types())


@pytest.mark.parametrize("name", ["file", "generator", "http"])
def test_every_source_option_is_documented(name: str) -> None:
    check_documented(options_model("source", name))


@pytest.mark.parametrize("name", ["file", "stdout", "webhook"])
def test_every_sink_option_is_documented(name: str) -> None:
    check_documented(options_model("sink", name))


def check_documented(model: type[BaseModel]) -> None:
    schema = model.model_json_schema(by_alias=True)
    blocks = [schema, *schema.get("$defs", {}).values()]
    assert all("description" in field for block in blocks for field in block.get("properties", {}).values())
    assert model.model_config.get("extra") == "forbid"


def test_an_unknown_type_names_the_ones_there_are() -> None:
    with pytest.raises(InvalidDeclarationError, match="Use one of: documents, file"):
        open_source(SourceOptions(connector_id("x"), "carrier-pigeon"), SourceContext())
    with pytest.raises(InvalidDeclarationError, match="Use one of: file"):
        open_sink(SinkOptions(connector_id("x"), "carrier-pigeon"))
