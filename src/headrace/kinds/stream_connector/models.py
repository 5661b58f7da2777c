"""The variants of a StreamConnector's spec: one per direction and installed type, with the type's own block."""

from functools import cache
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, Field, ValidationError

from headrace.connectors.registry import Direction, options_model, sink_types, source_types
from headrace.kinds.fields import words
from headrace.kinds.kind import Draft
from headrace.kinds.secret_fields import with_references
from headrace.kinds.spec_model import SpecModel
from headrace.kinds.stream_connector.spec import OPTIONS, StreamConnectorSpec

DIRECTIONS: tuple[Direction, ...] = ("source", "sink")
_create: Any = pydantic.create_model


@cache
def types(direction: str) -> tuple[str, ...]:
    """The installed types of a direction, sorted."""
    return tuple(sorted(source_types() if direction == "source" else sink_types()))


def variants() -> tuple[str, ...]:
    """Every `DIRECTION/TYPE` that is installed."""
    return tuple(f"{direction}/{name}" for direction in DIRECTIONS for name in types(direction))


def choose(draft: Draft) -> str:
    """By `direction` and `type`; where those are wrong, a variant whose block is given."""
    direction = draft.text("direction") or "source"
    direction = direction if direction in DIRECTIONS else "source"
    name = draft.text("type")
    if name in types(direction):
        return f"{direction}/{name}"
    given = draft.spec if isinstance(draft.spec, dict) else {}
    return f"{direction}/{next((known for known in types(direction) if known in given), types(direction)[0])}"


@cache
def variant(title: str) -> type[SpecModel]:
    """The model of one `DIRECTION/TYPE`."""
    direction: Direction = "sink" if title.startswith("sink/") else "source"
    name = title.partition("/")[2]
    block: type[BaseModel] = with_references(options_model(direction, name))
    described: dict[str, Any] = {"alias": name, "description": f"The options of a {name} {direction}."}
    options = (block, Field(**described)) if _needs(block) else (block, Field(default_factory=block, **described))
    return _create(
        f"StreamConnector{direction.capitalize()}{name.capitalize()}",
        __base__=StreamConnectorSpec,
        __doc__=StreamConnectorSpec.__doc__,
        type=(
            Annotated[str, words(*types(direction))],
            Field(description="Technology; its options are in the block of the same name."),
        ),
        **{OPTIONS: options},
    )


def _needs(block: type[BaseModel]) -> bool:
    """Whether the block has to be written."""
    try:
        block()
    except ValidationError:
        return True
    return False
