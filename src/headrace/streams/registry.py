"""Finds stream engines by their entry point."""

from importlib.metadata import entry_points

from headrace.foundation.errors import InvalidDeclarationError, MissingExtraError
from headrace.streams.stream_engine import StreamEngine

GROUP = "headrace.stream_engines"


def engine_names() -> tuple[str, ...]:
    """What is installed, by name."""
    return tuple(sorted({one.name for one in entry_points(group=GROUP)}))


def open_engine(name: str = "duckdb") -> StreamEngine:
    """The engine of that name. InvalidDeclarationError gives the valid names, MissingExtraError what to install."""
    found = [one for one in entry_points(group=GROUP) if one.name == name]
    if not found:
        raise InvalidDeclarationError(
            f"there is no stream engine {name!r}", next_step=f"use one of: {', '.join(engine_names())}"
        )
    try:
        engine: StreamEngine = found[0].load()()
    except ImportError as error:
        raise MissingExtraError(
            f"the stream engine {name} lacks {error.name}", next_step=f"pip install {error.name}"
        ) from error
    return engine
