"""Lets the option models of other rooms be written with secret references: `SecretStr` becomes `Secret`, and back again."""

import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr, create_model
from pydantic.fields import FieldInfo

from headrace.kinds.document import Location
from headrace.kinds.secrets import Secret, SecretSources, expand


@cache
def with_references(model: type[BaseModel]) -> type[BaseModel]:
    """The same model, whose every SecretStr, however deep, may be written in any form of Secret."""
    changed: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        annotation = _swap(info.annotation)
        if annotation is not info.annotation:
            changed[name] = (annotation, _described(info))
    return (
        create_model(model.__name__, __base__=model, __doc__=model.__doc__, __module__=model.__module__, **changed)
        if changed
        else model
    )


def _described(info: FieldInfo) -> Any:
    """The field without the constraints of the type it had."""
    given: dict[str, Any] = {"description": info.description}
    if not info.is_required():
        given["default_factory" if info.default_factory else "default"] = info.default_factory or info.default
    if info.alias_priority == 2:
        given["alias"] = info.alias
    return Field(**given)


def _swap(annotation: Any) -> Any:
    if annotation is SecretStr:
        return Secret
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return with_references(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not arguments:
        return annotation
    swapped = tuple(_swap(argument) for argument in arguments)
    if swapped == arguments:
        return annotation
    if origin in (Union, types.UnionType):
        return Union[swapped]  # noqa: UP007 - built at run time
    if origin is Annotated:
        return Annotated[swapped]
    return cast("Any", origin)[swapped]


def as_written(value: Any) -> Any:
    """Models as mappings of the keys that were written; secrets stay references, which pydantic's own dump would mask."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {
            info.alias or name: as_written(getattr(value, name))
            for name, info in fields
            if name in value.model_fields_set
        }
    if isinstance(value, Mapping):
        return {key: as_written(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [as_written(item) for item in cast("Sequence[Any]", value)]
    return value


def resolved(value: Any, sources: SecretSources, base_dir: Path) -> Any:
    """Plain data with every secret in clear and every `${ENV}` inside of text filled in. SecretNotFoundError."""
    if isinstance(value, Secret):
        return value.resolve(sources, base_dir)
    if isinstance(value, SecretStr):
        return expand(value.get_secret_value(), sources)
    if isinstance(value, str):
        return expand(value, sources) if type(value) is str else value
    if isinstance(value, Mapping):
        return {key: resolved(item, sources, base_dir) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [resolved(item, sources, base_dir) for item in cast("Sequence[Any]", value)]
    return value


def secrets_in(value: Any, above: Location = ()) -> Iterator[tuple[Location, Secret]]:
    """Every Secret of a spec, however deep, with its location in the YAML."""
    if isinstance(value, Secret):
        yield above, value
    elif isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            yield from secrets_in(getattr(value, name), (*above, info.alias or name))
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            yield from secrets_in(item, (*above, key))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(cast("Sequence[Any]", value)):
            yield from secrets_in(item, (*above, place))
