"""Finds installed sources and sinks by the name of their type."""

from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Literal, cast

from pydantic import BaseModel

from headrace.connectors.sink import OpenSink, Sink, SinkOptions
from headrace.connectors.source import OpenSource, Source, SourceContext, SourceOptions
from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.installed import installed

SOURCES = "headrace.sources"
SINKS = "headrace.sinks"
Direction = Literal["source", "sink"]


def source_types() -> tuple[str, ...]:
    """Names of the readable types, sorted."""
    return tuple(sorted(point.name for point in installed(SOURCES)))


def sink_types() -> tuple[str, ...]:
    """Names of the writable types, sorted."""
    return tuple(sorted(point.name for point in installed(SINKS)))


def open_source(options: SourceOptions, context: SourceContext) -> Source:
    """The declared source, not yet opened at a position. InvalidDeclarationError lists the installed types."""
    found = cast("OpenSource", _find(SOURCES, options.type, f"StreamConnector/{options.id.name}: spec.type").load())
    return found(options, context)


def open_sink(options: SinkOptions) -> Sink:
    """The declared sink. InvalidDeclarationError lists the installed types."""
    found = cast("OpenSink", _find(SINKS, options.type, f"StreamConnector/{options.id.name}: spec.type").load())
    return found(options)


def options_model(direction: Direction, type_name: str) -> type[BaseModel]:
    """The model of the type's own YAML block, without loading the type's client libraries.

    It is the attribute `Options` of the module `options` next to the one that the entry point names; if a folder's
    source and sink take different blocks, the sink's is `SinkOptions` there.
    """
    point = _find(SOURCES if direction == "source" else SINKS, type_name, "spec.type")
    module = import_module(f"{point.module.rpartition('.')[0]}.options")
    name = "SinkOptions" if direction == "sink" and hasattr(module, "SinkOptions") else "Options"
    return cast("type[BaseModel]", getattr(module, name))


def _find(group: str, type_name: str, where: str) -> EntryPoint:
    found = {point.name: point for point in installed(group)}
    if type_name not in found:
        kind = "source" if group == SOURCES else "sink"
        raise InvalidDeclarationError(
            f"no {kind} of type {type_name!r} is installed",
            where=where,
            next_step=f"use one of: {', '.join(sorted(found))}",
        )
    return found[type_name]
