"""The engines in the order they are tried, and the choice for a checkpoint."""

from collections.abc import Callable
from pathlib import Path

from headrace.foundation.errors import InvalidDeclarationError
from headrace.serving.checkpoint import read_config
from headrace.serving.engine import Engine


def _numpy() -> Engine:
    from headrace.serving.numpy.engine import NumpyEngine

    return NumpyEngine()


def _transformers() -> Engine:
    from headrace.serving.transformers.engine import TransformersEngine

    return TransformersEngine()


ENGINES: dict[str, Callable[[], Engine]] = {"numpy": _numpy, "transformers": _transformers}
"""Lightest first; the last runs any causal model. Opened on demand: only the last one imports torch."""


def engine_for(path: Path, only: str | None = None) -> Engine:
    """The first engine that runs the checkpoint; InvalidDeclarationError if none does, or `only` does not."""
    if only is not None and only not in ENGINES:
        raise InvalidDeclarationError(f"unknown engine {only!r}", next_step=f"Use one of: {', '.join(ENGINES)}.")
    config = read_config(path)
    reasons: list[str] = []
    for name in ENGINES if only is None else (only,):
        engine = ENGINES[name]()
        reason = engine.refuses(config)
        if reason is None:
            return engine
        reasons.append(f"{name}: {reason}")
    raise InvalidDeclarationError(f"no engine can run this checkpoint ({'; '.join(reasons)})", where=str(path))
