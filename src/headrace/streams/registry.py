"""Finds stream engines by their entry point."""

from collections.abc import Mapping

from headrace.foundation.errors import InvalidDeclarationError, MissingExtraError
from headrace.foundation.installed import installed
from headrace.streams.stream_engine import StreamEngine
from headrace.streams.stream_job import StreamJobEngine

GROUP = "headrace.stream_engines"


def engine_names() -> tuple[str, ...]:
    """What is installed, by name."""
    return tuple(sorted({one.name for one in installed(GROUP)}))


def open_engine(name: str = "duckdb", options: Mapping[str, str] | None = None) -> StreamEngine | StreamJobEngine:
    """The engine of that name; `options`: its own, such as its address. Whether it runs in this process, its capabilities say.

    InvalidDeclarationError gives the valid names, MissingExtraError what to install.
    """
    found = [one for one in installed(GROUP) if one.name == name]
    if not found:
        raise InvalidDeclarationError(
            f"there is no stream engine {name!r}", next_step=f"use one of: {', '.join(engine_names())}"
        )
    try:
        engine: StreamEngine | StreamJobEngine = found[0].load()(options or {})
    except ImportError as error:
        raise MissingExtraError(
            f"the stream engine {name} lacks {error.name}", next_step=f"run `pip install {error.name}`"
        ) from error
    return engine


def open_process_engine(name: str = "duckdb") -> StreamEngine:
    """An engine that runs queries in this process."""
    engine = open_engine(name)
    if isinstance(engine, StreamEngine):
        return engine
    raise InvalidDeclarationError(
        f"the engine {name} runs queries on a cluster of its own", next_step="use duckdb here"
    )


def open_job_engine(name: str, options: Mapping[str, str] | None = None) -> StreamJobEngine | None:
    """An engine that runs queries as jobs; None: that one runs them in this process."""
    engine = open_engine(name, options)
    return None if isinstance(engine, StreamEngine) else engine
