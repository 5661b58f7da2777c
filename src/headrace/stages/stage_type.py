"""A type of stage: how it is opened, when it is done, what it leaves outside of the log. Found by entry point."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.installed import installed
from headrace.log.topic_log import StateKey, TopicLog
from headrace.stages.context import Backends, StageContext
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import StageSpec

STAGES = "headrace.stages"


@dataclass(frozen=True, slots=True)
class IdleQuestion:
    """Whether a stage has anything left to do."""

    log: TopicLog
    specs: Sequence[StageSpec]
    """All that run."""
    holder: str
    """Whose ingest must have seen the end of its sources."""


Reset = Mapping[StateKey, bytes | None]


def has_read_everything(_spec: StageSpec, _question: IdleQuestion) -> bool:
    """For stages that have nothing to do once the lag of their topics is zero."""
    return True


def forget_state(spec: StageSpec, log: TopicLog) -> Reset:
    """For stages that start from nothing: every entry of their state goes."""
    return {StateKey(spec.name, key): None for key in log.state(spec.name)}


def nothing_to_empty(_spec: StageSpec, _context: StageContext, *, starts: bool) -> None:
    """For stages that keep nothing but topics and state."""


class Empty(Protocol):
    """Empties what a stage keeps outside of the log, before a reset is committed. Repeats are harmless; the stage does not run."""

    def __call__(self, spec: StageSpec, context: StageContext, /, *, starts: bool) -> None:
        """`starts`: the reset begins with this stage, rather than upstream of it."""
        ...


def nothing_outside(_spec: StageSpec, _context: StageContext) -> int:
    """For stages that keep nothing but topics, state and the files in `holds`."""
    return 0


def nowhere_else(_spec: StageSpec, _backends: Backends) -> bool:
    """For stages that run in their role's process alone."""
    return False


def nothing_to_suspend(_spec: StageSpec, _context: StageContext) -> None:
    """For the same."""


@dataclass(frozen=True, slots=True)
class StageType:
    """What the entry point of a stage's package names."""

    open: Callable[[StageSpec, StageContext], Stage] | None
    """Opens it in the thread that will step it; loads heavy libraries only then. None: the program of its role does."""
    is_idle: Callable[[StageSpec, IdleQuestion], bool] = has_read_everything
    """Beside an empty lag, which control asks of every stage."""
    reset: Callable[[StageSpec, TopicLog], Reset] = forget_state
    """Its state as it is to stand after a reset, to be committed with the offsets."""
    empty: Empty = nothing_to_empty
    """What a reset does first, where the stage keeps something outside of the log that would answer for what is to be made again."""
    purge: Callable[[StageSpec, StageContext], int] = nothing_outside
    """Takes away what it keeps elsewhere, such as a server's tables or a running job; bytes given back, as far as they are known."""
    runs_elsewhere: Callable[[StageSpec, Backends], bool] = nowhere_else
    """Whether any part of it runs without its process, such as a job on a cluster."""
    suspend: Callable[[StageSpec, StageContext], None] = nothing_to_suspend
    """Stops that part so that it can resume: its resource is deleted and may be applied again. The stage must not be running."""


@cache
def stage_type(kind: str) -> StageType:
    """The type of that name. InvalidDeclarationError names those that are installed."""
    found = {point.name: point for point in installed(STAGES)}
    if kind not in found:
        raise InvalidDeclarationError(
            f"no stage {kind!r} is installed", next_step=f"Use one of: {', '.join(sorted(found))}."
        )
    loaded = found[kind].load()
    assert isinstance(loaded, StageType)
    return loaded
