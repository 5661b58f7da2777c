"""From SQL to a logical plan: everything that cannot run with bounded state, append-only and exactly, is refused here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from headrace.events.schema import arrow_type
from headrace.streams.binder import Binder, Name
from headrace.streams.dialect import WindowTable, parse_query
from headrace.streams.expression import (
    Expression,
    Now,
    Ref,
    Slot,
    conjuncts,
    walk,
)
from headrace.streams.grouping import aggregate
from headrace.streams.join_source import join
from headrace.streams.logical_plan import (
    Aggregate,
    LogicalPlan,
    Rank,
    Relation,
    Scan,
    StreamJoin,
    TableJoin,
    Window,
    expressions,
    relations,
)
from headrace.streams.query_error import nearest
from headrace.streams.ranking import limit_of, ranked
from headrace.streams.scope import RANK_FORM, WINDOW_FORM, Context, Scope, label
from headrace.streams.stream_engine import QuerySpec, StreamInput
from headrace.streams.window_source import window

_CLAUSES = {
    "order": ("a global ORDER BY never ends on a stream", "rank within a window: " + RANK_FORM),
    "limit": ("LIMIT has no meaning on a stream without end", "rank within a window: " + RANK_FORM),
    "offset": ("OFFSET has no meaning on a stream without end", "rank within a window: " + RANK_FORM),
    "qualify": ("QUALIFY is not part of Flink SQL", "write " + RANK_FORM),
    "distinct": ("DISTINCT keeps every row without limit", "de-duplicate within a window: GROUP BY window_start, window_end, …"),
    "windows": ("the WINDOW clause is not supported", "write OVER (…) in its place"),
    "laterals": ("LATERAL is not supported", "select from a declared input"),
    "into": ("SELECT INTO is not supported", "write a plain SELECT"),
    "sample": ("TABLESAMPLE is not supported", "use sampleRatio"),
    "locks": ("FOR … is not supported here", "write FOR SYSTEM_TIME AS OF after a joined input"),
    "match": ("MATCH_RECOGNIZE is not supported", None),
    "pivots": ("PIVOT is not supported", "write CASE in aggregates"),
    "cluster": ("CLUSTER BY is not supported", None),
    "distribute": ("DISTRIBUTE BY is not supported", None),
    "sort": ("SORT BY is not supported", None),
    "connect": ("CONNECT BY is not supported", None),
}  # fmt: skip


def plan_query(spec: QuerySpec) -> LogicalPlan:
    """The plan of a query. InvalidQueryError says the place, the reason and the form that works."""
    return _Validator(Context(spec)).plan()


@dataclass(slots=True)
class _Validator:
    """Walks from SELECT to SELECT."""

    context: Context

    def plan(self) -> LogicalPlan:
        select = parse_query(self.context.sql)
        scope = self.select(select, {})
        self.context.must_be_grouped(scope)
        for rank, node in self.context.rank_nodes:
            if rank.limit == 0:
                raise self.context.refuse(
                    node, "ROW_NUMBER needs a bound, else it keeps every row", "write " + RANK_FORM
                )
        tree = list(relations(scope.relation))
        if any(isinstance(one, Window) for one in tree):
            self.refuse_now(select, tree)
        columns = tuple((one.name, one.slot) for one in scope.names)
        for name, slot in columns:
            if slot.type == pa.null():
                raise self.context.refuse(select, f"the column {name} is always NULL", "CAST(NULL AS STRING)")
        return LogicalPlan(scope.relation, columns, _shape(tree), _notes(tree))

    def refuse_now(self, select: exp.Select, tree: Sequence[Relation]) -> None:
        for relation in tree:
            for expression in expressions(relation):
                if any(isinstance(part, Now) for part in walk(expression)):
                    calls = [
                        one
                        for one in select.find_all(exp.Anonymous, exp.CurrentTimestamp)
                        if isinstance(one, exp.CurrentTimestamp) or one.name.upper() == "NOW"
                    ]
                    raise self.context.refuse(
                        calls[0] if calls else select,
                        "now() has no meaning in a query with windows",
                        "compare with window_start or window_end",
                    )

    def select(self, node: exp.Select, outer: Mapping[str, exp.Expr]) -> Scope:
        """The relation of one SELECT; `outer`: the CTEs that it may name."""
        self.check_clauses(node)
        known = dict(outer)
        with_ = node.args.get("with_")
        if with_ is not None and with_.args.get("recursive"):
            raise self.context.refuse(with_, "a recursive WITH is not supported")
        for cte in with_.expressions if with_ is not None else ():
            if cte.alias_or_name in known:
                raise self.context.refuse(cte, f"there are two WITH {cte.alias_or_name}", "give each a name of its own")
            known[cte.alias_or_name] = cte
        from_ = node.args.get("from_")
        if from_ is None:
            raise self.context.refuse(
                node,
                "the query reads no input",
                f"FROM {self.context.spec.inputs[0].name if self.context.spec.inputs else 'an input'}",
            )
        scope = self.source(from_.this, known)
        for one in node.args.get("joins") or ():
            scope = join(self.context, scope, one, known, self.source)
        scope = self.filtered(scope, node.args.get("where"))
        if node.args.get("group") is not None or self.has_aggregates(node):
            return aggregate(self.context, scope, node)
        if node.args.get("having") is not None:
            raise self.context.refuse(node.args["having"], "HAVING needs a GROUP BY", "write WHERE")
        return self.project(scope, node)

    def check_clauses(self, node: exp.Select) -> None:
        for clause, (reason, form) in _CLAUSES.items():
            found = node.args.get(clause)
            if found:
                raise self.context.refuse(found[0] if isinstance(found, list) else found, reason, form)
        for clause in ("hint", "kind", "prewhere", "settings", "format", "operation_modifiers", "exclude"):
            if node.args.get(clause):
                raise self.context.refuse(node, f"{clause} is not supported", "write a plain SELECT")

    def has_aggregates(self, node: exp.Select) -> bool:
        from headrace.streams.functions import FUNCTIONS

        names = {
            one.name.upper()
            for item in node.expressions
            for one in item.find_all(exp.Anonymous)
            if not isinstance(one.parent, exp.Window)
        }
        return any(name in FUNCTIONS and FUNCTIONS[name].aggregate for name in names)

    def filtered(self, scope: Scope, where: exp.Where | None) -> Scope:
        if where is None:
            return scope
        condition = Binder(self.context.sql, scope.names).bind_boolean(where.this, "WHERE")
        if scope.rank is not None and scope.rank_slot is not None:
            limits = [limit_of(part, scope.rank_slot) for part in conjuncts(condition)]
            known = [limit for limit in limits if limit is not None]
            if known:
                scope.rank.limit = min(known)
        columns = tuple((self.context.new_slot(one.slot.type), Ref(one.slot)) for one in scope.names)
        return self.context.projected(scope, columns, [(one.qualifier, one.name) for one in scope.names], condition)

    def project(self, scope: Scope, node: exp.Select) -> Scope:
        scope, ranks = ranked(self.context, scope, node)
        columns: list[tuple[Slot, Expression]] = []
        labels: list[str] = []
        binder = Binder(self.context.sql, scope.names)
        for place, item in enumerate(self.context.items(scope, node)):
            if isinstance(item, Name):
                columns.append((self.context.new_slot(item.slot.type), Ref(item.slot)))
                labels.append(item.name)
                continue
            inner = item.unalias() if isinstance(item, exp.Alias) else item
            bound = Ref(ranks[id(inner)]) if id(inner) in ranks else binder.bind(inner)
            columns.append((self.context.new_slot(self.context.output_type(item, bound)), bound))
            labels.append(label(item, place))
        self.context.check_labels(node, labels)
        return self.context.projected(scope, tuple(columns), [("", label) for label in labels], None)

    def source(self, node: exp.Expr, known: Mapping[str, exp.Expr]) -> Scope:
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
            if node.args.get("joins"):
                raise self.context.refuse(
                    node, "a join in parentheses is not supported", "write the joins one after the other"
                )
            return self.select(node.this, known).requalified(node.alias)
        if isinstance(node, exp.TableFromRows):
            return self.table_function(node.this, node, known)
        if not isinstance(node, exp.Table):
            name = type(node).__name__.upper()
            raise self.context.refuse(node, f"{name} is not allowed in FROM", "select from a declared input")
        if isinstance(node.this, exp.Anonymous | WindowTable | exp.Func):
            return self.table_function(node.this, node, known)
        self.context.check_modifiers(node)
        return self.named(node.name, node, known).requalified(node.alias_or_name)

    def named(self, name: str, node: exp.Expr, known: Mapping[str, exp.Expr]) -> Scope:
        """A WITH query or a stream."""
        if name in known:
            earlier = dict(list(known.items())[: list(known).index(name)])
            inner = known[name].this
            if not isinstance(inner, exp.Select) or (known[name].args["alias"].columns):
                raise self.context.refuse(known[name], "WITH takes a plain SELECT", f"WITH {name} AS (SELECT …)")
            return self.select(inner, earlier)
        stream = next((one for one in self.context.spec.inputs if one.name == name), None)
        if stream is not None:
            return self.scan(stream)
        if any(one.name == name for one in self.context.spec.tables):
            raise self.context.refuse(
                node,
                f"{name} is a table, not a stream: it would be read once and never again",
                f"join it: FROM a stream JOIN {name} ON …",
            )
        valid = [*self.context.input_names(), *known]
        raise self.context.refuse(
            node, f"there is no input {name}{nearest(name, valid)}", f"declared inputs: {', '.join(valid) or 'none'}"
        )

    def scan(self, stream: StreamInput) -> Scope:
        columns = tuple((one.name, self.context.new_slot(arrow_type(one.type))) for one in stream.schema.columns)
        time = next((slot for name, slot in columns if name == stream.event_time), None)
        return Scope(Scan(stream, columns), [Name(stream.name, name, slot) for name, slot in columns], time)

    def table_function(self, inner: exp.Expr, node: exp.Expr, known: Mapping[str, exp.Expr]) -> Scope:
        if isinstance(inner, exp.Anonymous) and inner.name.upper() == "TABLE" and len(inner.expressions) == 1:
            inner = inner.expressions[0]
        if not isinstance(inner, WindowTable):
            name = inner.name.upper() if isinstance(inner, exp.Anonymous) else type(inner).__name__.upper()
            raise self.context.refuse(
                inner, f"the table function {name} is not allowed", f"select from a declared input, or {WINDOW_FORM}"
            )
        return window(self.context, inner, lambda name, table: self.named(name, table, known)).requalified(
            node.alias or ""
        )


def _shape(tree: Sequence[Relation]):
    kinds = {type(one) for one in tree}
    if Rank in kinds:
        return "rank"
    if Aggregate in kinds:
        return "window"
    return "join" if kinds & {StreamJoin, TableJoin} else "stateless"


def _notes(tree: Sequence[Relation]) -> tuple[str, ...]:
    notes: list[str] = []
    for relation in tree:
        if isinstance(relation, StreamJoin):
            notes.append(
                "the join keeps the latest row of each key of its right side, and rows until both watermarks have passed"
            )
        if isinstance(relation, Window):
            kept = f"{relation.frame.size_ms / 1000:g} s of rows plus outOfOrderness"
            notes.append(
                f"{relation.frame.kind} keeps {'each open session' if relation.frame.kind == 'SESSION' else kept}"
            )
    return tuple(dict.fromkeys(notes))
