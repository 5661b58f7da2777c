"""Finds an installed log back end by name."""

from collections.abc import Mapping
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.installed import installed
from headrace.log.topic_log import TopicLog

GROUP = "headrace.logs"


def open_log(
    state: Path, *, technology: str = "sqlite", options: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK
) -> TopicLog:
    """Opens the log of a state directory, creating it if needed. `options`: specific to the technology, such as its address."""
    found = {point.name: point for point in installed(GROUP)}
    if technology not in found:
        raise InvalidDeclarationError(
            f"no log named {technology!r} is installed", next_step=f"use one of: {', '.join(sorted(found))}"
        )
    return found[technology].load()(state, options=options or {}, clock=clock)
