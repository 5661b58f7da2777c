"""The base of every spec: camelCase keys, nothing unknown, one line of doc beneath each field."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class SpecModel(BaseModel):
    """A block of YAML. Frozen; the docstring beneath a field feeds the JSON Schema and the reference."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=False,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )
