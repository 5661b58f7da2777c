"""Parts of the views' SQL, and what their columns are."""

from collections.abc import Sequence

from headrace.streams.flink.sql.expressions import expression_sql
from headrace.streams.flink.sql.tables import LOWEST
from headrace.streams.flink.sql.types import day_time
from headrace.streams.logical_plan import Frame, Project, Relation, Scan, Window

BORDERS = ("window_start", "window_end", "window_time")


def condition(project: Project) -> str:
    """The WHERE. Above a SESSION it must not sink below it, where it would move the sessions' borders."""
    assert project.where is not None
    condition, below = expression_sql(project.where), project.source
    while isinstance(below, Project):
        below = below.source
    if isinstance(below, Window) and below.frame.kind == "SESSION":
        return f"CASE WHEN _ws < {LOWEST} THEN FALSE ELSE {condition} END"
    return condition


def is_plain(column: str) -> bool:
    """Whether a column is the plan's own."""
    return not column.startswith("_") and column not in BORDERS


def is_key(column: str) -> bool:
    """Whether it is part of the identity."""
    return column.startswith("_k") and column[2:].isdigit()


def input_of(relation: Relation) -> str:
    """The input whose rows a relation gives; of a join the left one."""
    while not isinstance(relation, Scan):
        relation = relation.source
    return relation.stream.name


def window_function(frame: Frame, table: str, partition: Sequence[str]) -> str:
    """TUMBLE, HOP, CUMULATE or SESSION over a view."""
    time = "DESCRIPTOR(_rt)"
    size, step, offset = (day_time(one) for one in (frame.size_ms, frame.step_ms, abs(frame.offset_ms)))
    tail = f", {'-' if frame.offset_ms < 0 else ''}{offset}" if frame.offset_ms else ""
    if frame.kind == "SESSION":
        keys = f" PARTITION BY ({', '.join(partition)})" if partition else ""
        return f"SESSION(TABLE {table}{keys}, {time}, {size})"
    if frame.kind == "TUMBLE":
        return f"TUMBLE(TABLE {table}, {time}, {size}{tail})"
    return f"{frame.kind}(TABLE {table}, {time}, {step}, {size}{tail})"
