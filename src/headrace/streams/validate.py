"""From SQL to a logical plan: everything that cannot run with bounded state, append-only and exactly, is refused here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from headrace.events.schema import arrow_type, type_name
from headrace.foundation.errors import InvalidQueryError
from headrace.streams.binder import Binder, Name
from headrace.streams.dialect import WindowTable, parse_query
from headrace.streams.expression import (
    AggregateCall,
    Call,
    Constant,
    Duration,
    Expression,
    Now,
    Ref,
    Slot,
    conjuncts,
    slots_of,
    walk,
)
from headrace.streams.expression import replace as replace_parts
from headrace.streams.logical_plan import (
    Aggregate,
    Frame,
    JoinKind,
    LogicalPlan,
    Project,
    Rank,
    Relation,
    Scan,
    StreamJoin,
    TableJoin,
    Window,
    WindowKind,
    WindowSlots,
    expressions,
    relations,
)
from headrace.streams.query_error import nearest, refuse
from headrace.streams.stream_engine import QuerySpec, StaticTable, StreamInput

WINDOW_COLUMNS = ("window_start", "window_end", "window_time")
WINDOW_FORM = (
    "FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, …"
)
RANK_FORM = (
    "SELECT … FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY …) AS rn "
    "FROM TABLE(TUMBLE(…))) WHERE rn <= 3"
)
_CLAUSES = {
    "order": ("a global ORDER BY never ends on a stream", "rank within a window: " + RANK_FORM),
    "limit": ("LIMIT has no meaning on a stream without end", "rank within a window: " + RANK_FORM),
    "offset": ("OFFSET has no meaning on a stream without end", "rank within a window: " + RANK_FORM),
    "qualify": ("QUALIFY is not part of Flink SQL", "write " + RANK_FORM),
    "distinct": ("DISTINCT keeps every row for ever", "de-duplicate within a window: GROUP BY window_start, window_end, …"),
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
    return _Validator(spec).plan()


@dataclass(slots=True)
class _Scope:
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

    def requalified(self, qualifier: str) -> "_Scope":
        return replace(self, names=[Name(qualifier, one.name, one.slot) for one in self.names])


@dataclass(slots=True)
class _Validator:
    spec: QuerySpec
    count: int = 0
    rank_nodes: list[tuple[Rank, exp.Expr]] = field(default_factory=list[tuple[Rank, exp.Expr]])

    @property
    def sql(self) -> str:
        return self.spec.sql

    def plan(self) -> LogicalPlan:
        select = parse_query(self.sql)
        scope = self.select(select, {})
        self.must_be_grouped(scope)
        for rank, node in self.rank_nodes:
            if rank.limit == 0:
                raise self.refuse(node, "ROW_NUMBER needs a bound, else it keeps every row", "write " + RANK_FORM)
        tree = list(relations(scope.relation))
        if any(isinstance(one, Window) for one in tree):
            self.refuse_now(select, tree)
        columns = tuple((one.name, one.slot) for one in scope.names)
        for name, slot in columns:
            if slot.type == pa.null():
                raise self.refuse(select, f"the column {name} is always NULL", "CAST(NULL AS STRING)")
        return LogicalPlan(scope.relation, columns, _shape(tree), _notes(tree))

    def refuse(self, node: exp.Expr | None, reason: str, form: str | None = None) -> InvalidQueryError:
        return refuse(self.sql, node, reason, form)

    def refuse_now(self, select: exp.Select, tree: Sequence[Relation]) -> None:
        for relation in tree:
            for expression in expressions(relation):
                if any(isinstance(part, Now) for part in walk(expression)):
                    calls = [
                        one
                        for one in select.find_all(exp.Anonymous, exp.CurrentTimestamp)
                        if isinstance(one, exp.CurrentTimestamp) or one.name.upper() == "NOW"
                    ]
                    raise self.refuse(
                        calls[0] if calls else select,
                        "now() has no meaning in a query with windows",
                        "compare with window_start or window_end",
                    )

    def new_slot(self, kind: pa.DataType) -> Slot:
        self.count += 1
        return Slot(f"c{self.count}", kind)

    def must_be_grouped(self, scope: _Scope) -> None:
        if scope.loose is not None:
            raise self.refuse(
                scope.loose,
                "the rows of a window are given out grouped or ranked, not one by one",
                f"write {WINDOW_FORM} or {RANK_FORM}",
            )

    # --- SELECT ---

    def select(self, node: exp.Select, outer: Mapping[str, exp.Expr]) -> _Scope:
        """The relation of one SELECT; `outer`: the CTEs that it may name."""
        self.check_clauses(node)
        known = dict(outer)
        with_ = node.args.get("with_")
        if with_ is not None and with_.args.get("recursive"):
            raise self.refuse(with_, "a recursive WITH is not supported")
        for cte in with_.expressions if with_ is not None else ():
            if cte.alias_or_name in known:
                raise self.refuse(cte, f"there are two WITH {cte.alias_or_name}", "give each a name of its own")
            known[cte.alias_or_name] = cte
        from_ = node.args.get("from_")
        if from_ is None:
            raise self.refuse(
                node, "the query reads no input", f"FROM {self.spec.inputs[0].name if self.spec.inputs else 'an input'}"
            )
        scope = self.source(from_.this, known)
        for join in node.args.get("joins") or ():
            scope = self.join(scope, join, known)
        scope = self.filtered(scope, node.args.get("where"))
        if node.args.get("group") is not None or self.has_aggregates(node):
            return self.aggregate(scope, node)
        if node.args.get("having") is not None:
            raise self.refuse(node.args["having"], "HAVING needs a GROUP BY", "write WHERE")
        return self.project(scope, node)

    def check_clauses(self, node: exp.Select) -> None:
        for clause, (reason, form) in _CLAUSES.items():
            found = node.args.get(clause)
            if found:
                raise self.refuse(found[0] if isinstance(found, list) else found, reason, form)
        for clause in ("hint", "kind", "prewhere", "settings", "format", "operation_modifiers", "exclude"):
            if node.args.get(clause):
                raise self.refuse(node, f"{clause} is not supported", "write a plain SELECT")

    def has_aggregates(self, node: exp.Select) -> bool:
        from headrace.streams.functions import FUNCTIONS

        names = {
            one.name.upper()
            for item in node.expressions
            for one in item.find_all(exp.Anonymous)
            if not isinstance(one.parent, exp.Window)
        }
        return any(name in FUNCTIONS and FUNCTIONS[name].aggregate for name in names)

    def filtered(self, scope: _Scope, where: exp.Where | None) -> _Scope:
        if where is None:
            return scope
        condition = Binder(self.sql, scope.names).bind_boolean(where.this, "WHERE")
        if scope.rank is not None and scope.rank_slot is not None:
            limits = [_limit(part, scope.rank_slot) for part in conjuncts(condition)]
            known = [limit for limit in limits if limit is not None]
            if known:
                scope.rank.limit = min(known)
        columns = tuple((self.new_slot(one.slot.type), Ref(one.slot)) for one in scope.names)
        return self.projected(scope, columns, [(one.qualifier, one.name) for one in scope.names], condition)

    def projected(
        self,
        scope: _Scope,
        columns: tuple[tuple[Slot, Expression], ...],
        labels: Sequence[tuple[str, str]],
        where: Expression | None,
    ) -> _Scope:
        """SELECT columns; keeps track of where time, window and rank went."""
        moved = {expression.slot: slot for slot, expression in reversed(columns) if isinstance(expression, Ref)}
        window = None
        if scope.window is not None and scope.window.start in moved and scope.window.end in moved:
            time = moved.get(scope.window.time) if scope.window.time is not None else None
            window = WindowSlots(moved[scope.window.start], moved[scope.window.end], time)
        names = [Name(qualifier, name, slot) for (qualifier, name), (slot, _) in zip(labels, columns, strict=True)]
        return _Scope(
            Project(scope.relation, columns, where),
            names,
            moved.get(scope.time) if scope.time is not None else None,
            window,
            scope.loose,
            scope.rank,
            moved.get(scope.rank_slot) if scope.rank_slot is not None else None,
        )

    def project(self, scope: _Scope, node: exp.Select) -> _Scope:
        scope, ranks = self.ranked(scope, node)
        columns: list[tuple[Slot, Expression]] = []
        labels: list[str] = []
        binder = Binder(self.sql, scope.names)
        for place, item in enumerate(self.items(scope, node)):
            if isinstance(item, Name):
                columns.append((self.new_slot(item.slot.type), Ref(item.slot)))
                labels.append(item.name)
                continue
            inner = item.unalias() if isinstance(item, exp.Alias) else item
            bound = Ref(ranks[id(inner)]) if id(inner) in ranks else binder.bind(inner)
            columns.append((self.new_slot(self.output_type(item, bound)), bound))
            labels.append(_label(item, place))
        self.check_labels(node, labels)
        return self.projected(scope, tuple(columns), [("", label) for label in labels], None)

    def output_type(self, item: exp.Expr, bound: Expression) -> pa.DataType:
        if isinstance(bound, Duration):
            raise self.refuse(item, "an INTERVAL cannot be a column", "give out milliseconds, or add it to a time")
        return bound.type

    def items(self, scope: _Scope, node: exp.Select) -> list[Name | exp.Expr]:
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

    # --- inputs ---

    def source(self, node: exp.Expr, known: Mapping[str, exp.Expr]) -> _Scope:
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
            if node.args.get("joins"):
                raise self.refuse(node, "a join in parentheses is not supported", "write the joins one after the other")
            return self.select(node.this, known).requalified(node.alias)
        if isinstance(node, exp.TableFromRows):
            return self.table_function(node.this, node, known)
        if not isinstance(node, exp.Table):
            name = type(node).__name__.upper()
            raise self.refuse(node, f"{name} cannot stand in FROM", "select from a declared input")
        if isinstance(node.this, exp.Anonymous | WindowTable | exp.Func):
            return self.table_function(node.this, node, known)
        self.check_modifiers(node)
        return self.named(node.name, node, known).requalified(node.alias_or_name)

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

    def input_names(self) -> list[str]:
        return [one.name for one in self.spec.inputs] + [one.name for one in self.spec.tables]

    def named(self, name: str, node: exp.Expr, known: Mapping[str, exp.Expr]) -> _Scope:
        """A WITH query or a stream."""
        if name in known:
            earlier = dict(list(known.items())[: list(known).index(name)])
            inner = known[name].this
            if not isinstance(inner, exp.Select) or (known[name].args["alias"].columns):
                raise self.refuse(known[name], "WITH takes a plain SELECT", f"WITH {name} AS (SELECT …)")
            return self.select(inner, earlier)
        stream = next((one for one in self.spec.inputs if one.name == name), None)
        if stream is not None:
            return self.scan(stream)
        if any(one.name == name for one in self.spec.tables):
            raise self.refuse(
                node,
                f"{name} is a table, not a stream: it would be read once and never again",
                f"join it: FROM a stream JOIN {name} ON …",
            )
        valid = [*self.input_names(), *known]
        raise self.refuse(
            node, f"there is no input {name}{nearest(name, valid)}", f"declared inputs: {', '.join(valid) or 'none'}"
        )

    def scan(self, stream: StreamInput) -> _Scope:
        columns = tuple((one.name, self.new_slot(arrow_type(one.type))) for one in stream.schema.columns)
        time = next((slot for name, slot in columns if name == stream.event_time), None)
        return _Scope(Scan(stream, columns), [Name(stream.name, name, slot) for name, slot in columns], time)

    def table_function(self, inner: exp.Expr, node: exp.Expr, known: Mapping[str, exp.Expr]) -> _Scope:
        if isinstance(inner, exp.Anonymous) and inner.name.upper() == "TABLE" and len(inner.expressions) == 1:
            inner = inner.expressions[0]
        if not isinstance(inner, WindowTable):
            name = inner.name.upper() if isinstance(inner, exp.Anonymous) else type(inner).__name__.upper()
            raise self.refuse(
                inner, f"the table function {name} is not allowed", f"select from a declared input, or {WINDOW_FORM}"
            )
        return self.window(inner, known).requalified(node.alias or "")

    # --- windows ---

    def window(self, node: WindowTable, known: Mapping[str, exp.Expr]) -> _Scope:
        arguments = {one.this.name: one.expression for one in node.args["arguments"]}
        table = arguments["DATA"]
        if table.args.get("db"):
            raise self.refuse(
                table, "an input has a name of one part", f"declared inputs: {', '.join(self.input_names())}"
            )
        source = self.named(table.name, table, known).requalified(table.name)
        self.must_be_grouped(source)
        binder = Binder(self.sql, source.names)
        time = binder.slot(arguments["TIMECOL"])
        self.check_time(arguments["TIMECOL"], time, source)
        partition = [binder.bind(one) for one in node.args.get("partition") or ()]
        if node.args["kind"] != "SESSION" and partition:
            raise self.refuse(node, "only SESSION takes PARTITION BY", "write the keys into GROUP BY")
        if any(not isinstance(one, Ref) for one in partition):
            raise self.refuse(node, "PARTITION BY of SESSION takes columns", "compute it in a WITH query first")
        unit = pa.timestamp("ms", tz=time.type.tz if pa.types.is_timestamp(time.type) else "UTC")
        slots = WindowSlots(self.new_slot(unit), self.new_slot(unit), self.new_slot(unit))
        keys = tuple(one for one in partition if isinstance(one, Ref))
        relation = Window(source.relation, self.frame(node, arguments), slots, keys)
        names = [one for one in source.names if one.name not in WINDOW_COLUMNS]
        added = zip(WINDOW_COLUMNS, (slots.start, slots.end, slots.time), strict=True)
        names += [Name("", name, slot) for name, slot in added if slot is not None]
        return _Scope(relation, names, slots.time, slots, loose=node)

    def check_time(self, node: exp.Expr, slot: Slot, source: _Scope) -> None:
        if source.time == slot:
            return
        if source.time is None:
            raise self.refuse(
                node,
                "the input has no event time here",
                "declare eventTime.column, and select that column (or window_time) unchanged",
            )
        name = next((one.name for one in source.names if one.slot == source.time), "event time")
        raise self.refuse(node, f"{node.name} is not the event time of this input", f"write DESCRIPTOR({name})")

    def frame(self, node: WindowTable, arguments: Mapping[str, exp.Expr]) -> Frame:
        lengths = {name: self.length(value) for name, value in arguments.items() if name not in ("DATA", "TIMECOL")}
        kind: WindowKind = node.args["kind"]
        size = lengths["GAP" if kind == "SESSION" else "SIZE"]
        step = lengths.get("SLIDE") or lengths.get("STEP") or size
        offset = lengths.get("OFFSET", 0)
        for name, length in lengths.items():
            if length <= 0 and name != "OFFSET":
                raise self.refuse(arguments[name], f"{name} must be longer than nothing", "INTERVAL '1' MINUTE")
        if size % step:
            raise self.refuse(
                node,
                f"{kind}'s size is no multiple of its {'slide' if kind == 'HOP' else 'step'}",
                "the shorter INTERVAL comes first",
            )
        return Frame(kind, size, step, offset)

    def length(self, node: exp.Expr) -> int:
        bound = Binder(self.sql, []).bind(node)
        if not isinstance(bound, Duration) or bound.months:
            raise self.refuse(node, "a window has a fixed length", "use SECOND, MINUTE, HOUR or DAY")
        return bound.milliseconds

    # --- GROUP BY ---

    def aggregate(self, scope: _Scope, node: exp.Select) -> _Scope:
        group = node.args.get("group")
        if scope.window is None:
            raise self.refuse(
                group or node.expressions[0],
                "without a window an aggregate never ends: it would keep state for ever and take rows back",
                WINDOW_FORM,
            )
        if group is None:
            raise self.refuse(
                node.expressions[0], "an aggregate over windows needs a GROUP BY", "GROUP BY window_start, window_end"
            )
        keys = self.group_keys(scope, node, group)
        source_names = {one.slot: one.name for one in scope.names}
        binder = Binder(self.sql, scope.names, aggregates=True)
        items: list[tuple[str, exp.Expr, Expression]] = []
        for place, item in enumerate(self.items(scope, node)):
            if isinstance(item, Name):
                items.append((item.name, node, Ref(item.slot)))
            else:
                inner = item.unalias() if isinstance(item, exp.Alias) else item
                items.append((_label(item, place), item, binder.bind(inner)))
        having = node.args.get("having")
        condition = binder.bind_boolean(having.this, "HAVING") if having is not None else None
        bound = [expression for _, _, expression in items] + ([condition] if condition is not None else [])
        calls = dict.fromkeys(part for one in bound for part in walk(one) if isinstance(part, AggregateCall))
        aggregates = tuple((self.new_slot(call.type), call) for call in calls)
        known: dict[Expression, Expression] = {expression: Ref(slot) for slot, expression in keys}
        known.update({call: Ref(slot) for slot, call in aggregates})
        out = {slot for slot, _ in keys} | {slot for slot, _ in aggregates}
        columns: list[tuple[Slot, Expression]] = []
        for _, item, expression in [
            *items,
            *([("", having, condition)] if condition is not None and having is not None else []),
        ]:
            replaced = replace_parts(expression, known)
            self.check_grouped(item, replaced, out, source_names)
            columns.append((self.new_slot(self.output_type(item, replaced)), replaced))
        where = columns.pop()[1] if condition is not None else None
        self.check_labels(node, [name for name, _, _ in items])
        moved = {expression.slot: slot for slot, expression in keys if isinstance(expression, Ref)}
        time = moved.get(scope.window.time) if scope.window.time is not None else None
        window = WindowSlots(moved[scope.window.start], moved[scope.window.end], time)
        grouped = _Scope(Aggregate(scope.relation, keys, aggregates, scope.window), [], time, window)
        return self.projected(grouped, tuple(columns), [("", name) for name, _, _ in items], where)

    def group_keys(self, scope: _Scope, node: exp.Select, group: exp.Group) -> tuple[tuple[Slot, Expression], ...]:
        for clause in ("rollup", "cube", "grouping_sets", "totals", "all", "limit"):
            if group.args.get(clause):
                raise self.refuse(
                    group, f"GROUP BY {clause.upper().replace('_', ' ')} is not supported", "list the columns"
                )
        binder = Binder(self.sql, scope.names)
        labels = {item.alias for item in node.expressions if isinstance(item, exp.Alias)}
        keys: dict[Expression, Slot] = {}
        for item in group.expressions:
            if isinstance(item, exp.Literal):
                raise self.refuse(item, "GROUP BY takes no ordinals", "write the column or expression itself")
            plain = isinstance(item, exp.Column) and not item.table
            if plain and item.name in labels and item.name not in {one.name for one in scope.names}:
                raise self.refuse(item, f"GROUP BY takes no alias ({item.name})", "write the expression itself")
            bound = binder.bind(item)
            keys.setdefault(bound, self.new_slot(bound.type))
        assert scope.window is not None
        for slot, name in ((scope.window.start, "window_start"), (scope.window.end, "window_end")):
            if Ref(slot) not in keys:
                raise self.refuse(
                    group,
                    f"GROUP BY lacks {name}, so that groups would stay open for ever",
                    "GROUP BY window_start, window_end, …",
                )
        if scope.window.time is not None:
            keys.setdefault(Ref(scope.window.time), self.new_slot(scope.window.time.type))
        return tuple((slot, expression) for expression, slot in keys.items())

    def check_grouped(self, item: exp.Expr, expression: Expression, out: set[Slot], names: Mapping[Slot, str]) -> None:
        for slot in sorted(slots_of(expression) - out, key=lambda one: one.column):
            name = names.get(slot, "a column")
            raise self.refuse(
                item,
                f"{name} is neither grouped by nor aggregated",
                f"add it to GROUP BY, or write FIRST_VALUE({name})",
            )

    # --- ROW_NUMBER ---

    def ranked(self, scope: _Scope, node: exp.Select) -> tuple[_Scope, dict[int, Slot]]:
        """The scope with the row numbers that SELECT asks for, by the node's identity."""
        found = [one for item in node.expressions for one in item.find_all(exp.Window)]
        if not found:
            return scope, {}
        over = found[0]
        if len(found) > 1 or not isinstance(over.this, exp.Anonymous) or over.this.name.upper() != "ROW_NUMBER":
            raise self.refuse(over, "of OVER, one ROW_NUMBER() is supported", "write " + RANK_FORM)
        top = over.parent if isinstance(over.parent, exp.Alias) else over
        if top.parent is not node:
            raise self.refuse(over, "ROW_NUMBER() stands alone as a column", "write " + RANK_FORM)
        if scope.window is None:
            raise self.refuse(over, "ROW_NUMBER without a window would take rows back", "write " + RANK_FORM)
        if scope.rank is not None and scope.rank.limit == 0:
            raise self.refuse(over, "a rank of ranks needs the inner bound first", "write " + RANK_FORM)
        if over.args.get("spec") is not None or over.this.expressions:
            raise self.refuse(over, "ROW_NUMBER takes no arguments and no frame", "write " + RANK_FORM)
        rank = self.rank(scope, over)
        self.rank_nodes.append((rank, over))
        return replace(scope, relation=rank, rank=rank, rank_slot=rank.slot, loose=None), {id(over): rank.slot}

    def rank(self, scope: _Scope, over: exp.Window) -> Rank:
        binder = Binder(self.sql, scope.names)
        partition = [binder.bind(one) for one in over.args.get("partition_by") or ()]
        assert scope.window is not None
        borders = (Ref(scope.window.start), Ref(scope.window.end))
        if any(one not in partition for one in borders):
            raise self.refuse(
                over,
                "PARTITION BY lacks window_start and window_end, so that ranks would never be final",
                "write " + RANK_FORM,
            )
        order = over.args.get("order")
        if order is None:
            raise self.refuse(over, "ROW_NUMBER needs an ORDER BY", "write " + RANK_FORM)
        by = tuple(
            (binder.bind(one.this), bool(one.args.get("desc")), bool(one.args.get("nulls_first")))
            for one in order.expressions
        )
        extra = {Ref(scope.window.time)} if scope.window.time is not None else set[Ref]()
        keys = tuple(one for one in partition if one not in (*borders, *extra))
        return Rank(scope.relation, keys, by, self.new_slot(pa.int64()), scope.window)

    # --- joins ---

    def join(self, scope: _Scope, node: exp.Join, known: Mapping[str, exp.Expr]) -> _Scope:
        kind = self.join_kind(node)
        right, version = node.this, node.this.args.get("version")
        self.must_be_grouped(scope)
        table = self.static_table(right, known)
        if table is None and version is None:
            raise self.refuse(
                right,
                "a join of two streams keeps both for ever",
                "join a version: … JOIN b FOR SYSTEM_TIME AS OF a.event_time AS b ON a.k = b.k",
            )
        if version is not None:
            self.check_version(scope, version)
        if table is not None:
            return self.join_table(scope, node, table, kind)
        other = self.source(right, known)
        self.must_be_grouped(other)
        if scope.time is None or other.time is None:
            raise self.refuse(
                right, "both sides of a join need their event time", "declare eventTime.column, and select it unchanged"
            )
        if right.alias_or_name in {one.qualifier for one in scope.names}:
            raise self.refuse(right, f"two inputs are named {right.alias_or_name}", "give one an alias: … AS b")
        pairs: list[tuple[Slot, Slot]] = []
        for left, column in self.join_keys(node, scope, other.names):
            if not isinstance(left, Ref):
                raise self.refuse(
                    node.args["on"],
                    "streams are joined by columns of equal types",
                    "compute the key in a WITH query first",
                )
            pairs.append((left.slot, column))
        relation = StreamJoin(scope.relation, other.relation, kind, tuple(pairs))
        return _Scope(relation, [*scope.names, *other.names], scope.time, scope.window)

    def join_kind(self, node: exp.Join) -> JoinKind:
        side, kind = str(node.args.get("side") or ""), str(node.args.get("kind") or "")
        if node.args.get("using"):
            raise self.refuse(node, "USING is not supported", "write ON a.k = b.k")
        if side in ("RIGHT", "FULL") or kind in ("CROSS", "SEMI", "ANTI", "OUTER") or node.args.get("method"):
            name = " ".join(word for word in (str(node.args.get("method") or ""), side, kind) if word)
            raise self.refuse(node, f"{name} JOIN is not supported", "write JOIN or LEFT JOIN")
        if node.args.get("on") is None:
            raise self.refuse(node, "a join needs a condition", "write ON a.k = b.k")
        return "LEFT" if side == "LEFT" else "INNER"

    def static_table(self, node: exp.Expr, known: Mapping[str, exp.Expr]) -> StaticTable | None:
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier) or node.name in known:
            return None
        self.check_modifiers(node)
        return next((one for one in self.spec.tables if one.name == node.name), None)

    def check_version(self, scope: _Scope, version: exp.Version) -> None:
        expression = version.expression
        slot = Binder(self.sql, scope.names).slot(expression) if isinstance(expression, exp.Column) else None
        if slot is None or slot != scope.time:
            name = next(
                (f"{one.qualifier}.{one.name}" for one in scope.names if one.slot == scope.time),
                "the event time of the left side",
            )
            raise self.refuse(
                version, "a version is joined as of the left side's event time", f"FOR SYSTEM_TIME AS OF {name}"
            )

    def join_table(self, scope: _Scope, node: exp.Join, table: StaticTable, kind: JoinKind) -> _Scope:
        alias = node.this.alias_or_name
        columns = tuple((one.name, self.new_slot(_plain(one.type))) for one in table.table.schema)
        names = [Name(alias, name, slot) for name, slot in columns]
        if alias in {one.qualifier for one in scope.names}:
            raise self.refuse(node.this, f"two inputs are named {alias}", "give one an alias: … AS b")
        by_slot = {slot: name for name, slot in columns}
        on = tuple((left, by_slot[column]) for left, column in self.join_keys(node, scope, names))
        self.check_unique(node, table, [column for _, column in on])
        relation = TableJoin(scope.relation, table, columns, kind, on)
        return _Scope(relation, [*scope.names, *names], scope.time, scope.window)

    def join_keys(self, node: exp.Join, scope: _Scope, right: Sequence[Name]) -> list[tuple[Expression, Slot]]:
        """(expression of the left side, column of the right side) of every `=` in ON."""
        condition = Binder(self.sql, [*scope.names, *right]).bind_boolean(node.args["on"], "ON")
        right_slots = {one.slot for one in right}
        pairs: list[tuple[Expression, Slot]] = []
        for part in conjuncts(condition):
            sides = part.arguments if isinstance(part, Call) and part.name == "=" else ()
            pair = next(
                ((left, column.slot) for left, column in (sides, sides[::-1]) if isinstance(column, Ref) and column.slot in right_slots and not slots_of(left) & right_slots),
                None,
            ) if sides else None  # fmt: skip
            if pair is None:
                raise self.refuse(
                    node.args["on"],
                    "a join is by columns that are equal, and of one type",
                    "write ON a.k = b.k, and the rest into WHERE",
                )
            pairs.append(pair)
        return pairs

    def check_unique(self, node: exp.Join, table: StaticTable, keys: list[str]) -> None:
        columns = [*keys, *([table.valid_from] if table.valid_from else [])]
        if table.valid_from and table.valid_from not in table.table.column_names:
            raise self.refuse(
                node.this, f"the table {table.name} has no column {table.valid_from}", "correct validFrom"
            )
        counts = table.table.group_by(columns, use_threads=False).aggregate([([], "count_all")])
        repeated = counts.filter(pc.field("count_all") > 1)
        if repeated.num_rows:
            first = {name: repeated[name][0].as_py() for name in columns}
            raise self.refuse(
                node.this, f"the table {table.name} has several rows for {first}", "join it by a key that is unique"
            )


def _plain(kind: pa.DataType) -> pa.DataType:
    """A table's column type as SQL knows it."""
    return arrow_type(type_name(kind))


def _limit(part: Expression, slot: Slot) -> int | None:
    """N of `rn <= N`, `rn < N + 1` or `rn = 1`."""
    if not isinstance(part, Call) or len(part.arguments) != 2:
        return None
    left, right, name = *part.arguments, part.name
    if isinstance(left, Constant):
        left, right, name = right, left, {">=": "<=", ">": "<"}.get(name, "")
    value = right.value if isinstance(right, Constant) else None
    if left != Ref(slot) or not isinstance(value, int) or value < 1:
        return None
    return {"<=": value, "<": value - 1, "=": 1 if value == 1 else None}.get(name) or None


def _label(item: exp.Expr, place: int) -> str:
    return item.alias_or_name if isinstance(item, exp.Alias | exp.Column) else f"EXPR${place}"


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
