"""What a SELECT can name, and what all who bind its parts share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
from sqlglot import exp

from headrace.foundation.errors import InvalidQueryError
from headrace.streams.binder import Name
from headrace.streams.expression import (
    Duration,
    Expression,
    Ref,
    Slot,
)
from headrace.streams.logical_plan import (
    Project,
    Rank,
    Relation,
    WindowSlots,
)
from headrace.streams.query_error import refuse
from headrace.streams.stream_engine import QuerySpec

WINDOW_COLUMNS = ("window_start", "window_end", "window_time")
WINDOW_FORM = (
    "FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, …"
)
RANK_FORM = (
    "SELECT … FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY …) AS rn "
    "FROM TABLE(TUMBLE(…))) WHERE rn <= 3"
)


@dataclass(slots=True)
class Scope:
    """A relation and how its columns can be named."""

    relation: Relation
    names: list[Name]
    time: Slot | None = None
    """The column that carries event time, where it is still there."""
    window: WindowSlots | None = None
    loose: exp.Expr | None = None
    """The window function whose rows were not grouped or ranked yet."""
    rank: Rank | None = None
    """A rank that waits for its limit."""
    rank_slot: Slot | None = None

    def requalified(self, qualifier: str) -> "Scope":
        return replace(self, names=[Name(qualifier, one.name, one.slot) for one in self.names])


@dataclass(slots=True)
class Context:
    """The query as it is bound: its text, its inputs, and the columns given out so far."""

    spec: QuerySpec
    count: int = 0
    rank_nodes: list[tuple[Rank, exp.Expr]] = field(default_factory=list[tuple[Rank, exp.Expr]])

    @property
    def sql(self) -> str:
        return self.spec.sql

    def refuse(self, node: exp.Expr | None, reason: str, form: str | None = None) -> InvalidQueryError:
        return refuse(self.sql, node, reason, form)

    def new_slot(self, kind: pa.DataType) -> Slot:
        self.count += 1
        return Slot(f"c{self.count}", kind)

    def must_be_grouped(self, scope: Scope) -> None:
        if scope.loose is not None:
            raise self.refuse(
                scope.loose,
                "the rows of a window are given out grouped or ranked, not one by one",
                f"write {WINDOW_FORM} or {RANK_FORM}",
            )

    def projected(
        self,
        scope: Scope,
        columns: tuple[tuple[Slot, Expression], ...],
        labels: Sequence[tuple[str, str]],
        where: Expression | None,
    ) -> Scope:
        """SELECT columns; keeps track of where time, window and rank went."""
        moved = {expression.slot: slot for slot, expression in reversed(columns) if isinstance(expression, Ref)}
        window = None
        if scope.window is not None and scope.window.start in moved and scope.window.end in moved:
            time = moved.get(scope.window.time) if scope.window.time is not None else None
            window = WindowSlots(moved[scope.window.start], moved[scope.window.end], time)
        names = [Name(qualifier, name, slot) for (qualifier, name), (slot, _) in zip(labels, columns, strict=True)]
        return Scope(
            Project(scope.relation, columns, where),
            names,
            moved.get(scope.time) if scope.time is not None else None,
            window,
            scope.loose,
            scope.rank,
            moved.get(scope.rank_slot) if scope.rank_slot is not None else None,
        )

    def output_type(self, item: exp.Expr, bound: Expression) -> pa.DataType:
        if isinstance(bound, Duration):
            raise self.refuse(item, "an INTERVAL cannot be a column", "give out milliseconds, or add it to a time")
        return bound.type

    def items(self, scope: Scope, node: exp.Select) -> list[Name | exp.Expr]:
        """The items of SELECT with every * spelled out."""
        items: list[Name | exp.Expr] = []
        for item in node.expressions:
            star = item.this if isinstance(item, exp.Column) and isinstance(item.this, exp.Star) else item
            if not isinstance(star, exp.Star):
                items.append(item)
                continue
            if any(star.args.values()):
                raise self.refuse(item, "* takes no EXCEPT, REPLACE or RENAME", "list the columns")
            qualifier = item.table if isinstance(item, exp.Column) else ""
            found = [one for one in scope.names if qualifier in ("", one.qualifier)]
            if not found:
                raise self.refuse(
                    item, f"there is no input {qualifier} here", f"use {', '.join({n.qualifier for n in scope.names})}"
                )
            items.extend(found)
        return items

    def check_labels(self, node: exp.Select, labels: Sequence[str]) -> None:
        for place, label in enumerate(labels):
            if label in labels[:place]:
                raise self.refuse(node, f"two columns are named {label}", f"rename one: … AS {label}_2")

    def input_names(self) -> list[str]:
        return [one.name for one in self.spec.inputs] + [one.name for one in self.spec.tables]

    def check_modifiers(self, node: exp.Table) -> None:
        if node.args.get("db"):
            raise self.refuse(
                node, "an input has a name of one part", f"declared inputs: {', '.join(self.input_names())}"
            )
        for clause in ("sample", "pivots", "hints", "when", "only", "partition", "changes", "ordinality", "joins"):
            if node.args.get(clause):
                raise self.refuse(node, f"{clause} is not supported on an input", "name the input alone")
        if node.args.get("version") is not None and not isinstance(node.parent, exp.Join):
            raise self.refuse(
                node,
                "FOR SYSTEM_TIME AS OF follows a joined input",
                "FROM a JOIN b FOR SYSTEM_TIME AS OF a.event_time ON …",
            )


def label(item: exp.Expr, place: int) -> str:
    return item.alias_or_name if isinstance(item, exp.Alias | exp.Column) else f"EXPR${place}"
