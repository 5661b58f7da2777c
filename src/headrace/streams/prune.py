"""Makes a plan smaller without changing what it means: unread columns go, filters sink below windows."""

from dataclasses import replace

from headrace.streams.expression import Ref, Slot, conjunction, conjuncts, slots_of
from headrace.streams.logical_plan import (
    Aggregate,
    Project,
    Rank,
    Relation,
    Scan,
    StreamJoin,
    TableJoin,
    Window,
    WindowSlots,
)


def optimise(root: Relation, output: set[Slot]) -> Relation:
    """An equal tree that reads as little, and keeps as little open, as it can."""
    return prune(sink_filters(root), output)


def sink_filters(relation: Relation) -> Relation:
    """Rows that a WHERE drops are dropped before they wait for their window."""
    if isinstance(relation, Scan):
        return relation
    if isinstance(relation, StreamJoin):
        return replace(relation, source=sink_filters(relation.source), other=sink_filters(relation.other))
    if isinstance(relation, Project) and isinstance(relation.source, Window):
        return _sink(relation, relation.source)
    return replace(relation, source=sink_filters(relation.source))


def _sink(project: Project, window: Window) -> Relation:
    parts = conjuncts(project.where)
    below = tuple(part for part in parts if _may_sink(slots_of(part), window))
    above = tuple(part for part in parts if not _may_sink(slots_of(part), window))
    source = sink_filters(window.source)
    if below:
        columns = tuple((slot, Ref(slot)) for slot in sorted(output_slots(source), key=lambda one: one.column))
        source = Project(source, columns, conjunction(below))
    return Project(replace(window, source=source), project.columns, conjunction(above))


def _may_sink(read: set[Slot], window: Window) -> bool:
    """Whether a condition on these columns may drop rows before the window: never where they make the window."""
    if window.frame.kind == "SESSION":
        return read <= {one.slot for one in window.partition}
    return not read & _window_slots(window.slots)


def output_slots(relation: Relation) -> set[Slot]:
    """The columns that a relation gives."""
    if isinstance(relation, Scan):
        return {slot for _, slot in relation.columns}
    if isinstance(relation, Project):
        return {slot for slot, _ in relation.columns}
    if isinstance(relation, Aggregate):
        return {slot for slot, _ in (*relation.keys, *relation.aggregates)}
    if isinstance(relation, Window):
        return output_slots(relation.source) | _window_slots(relation.slots)
    if isinstance(relation, Rank):
        return output_slots(relation.source) | {relation.slot}
    if isinstance(relation, TableJoin):
        return output_slots(relation.source) | {slot for _, slot in relation.columns}
    return output_slots(relation.source) | output_slots(relation.other)


def _window_slots(slots: WindowSlots) -> set[Slot]:
    return {slot for slot in (slots.start, slots.end, slots.time) if slot is not None}


def prune(relation: Relation, needed: set[Slot]) -> Relation:
    """The relation with the columns in `needed` alone."""
    if isinstance(relation, Scan):
        return replace(relation, columns=tuple(one for one in relation.columns if one[1] in needed))
    if isinstance(relation, Project):
        columns = tuple(one for one in relation.columns if one[0] in needed)
        below = {slot for _, expression in columns for slot in slots_of(expression)}
        if relation.where is not None:
            below |= slots_of(relation.where)
        return Project(prune(relation.source, below), columns, relation.where)
    if isinstance(relation, Aggregate):
        aggregates = tuple(one for one in relation.aggregates if one[0] in needed)
        below = {slot for _, expression in (*relation.keys, *aggregates) for slot in slots_of(expression)}
        return replace(relation, source=prune(relation.source, below), aggregates=aggregates)
    if isinstance(relation, Rank):
        below = {slot for one in (*relation.partition, *(by for by, _, _ in relation.order)) for slot in slots_of(one)}
        return replace(relation, source=prune(relation.source, (needed - {relation.slot}) | below))
    if isinstance(relation, Window):
        below = {one.slot for one in relation.partition}
        return replace(relation, source=prune(relation.source, (needed - _window_slots(relation.slots)) | below))
    if isinstance(relation, TableJoin):
        keys = {name for _, name in relation.on}
        columns = tuple(one for one in relation.columns if one[1] in needed or one[0] in keys)
        below = {slot for expression, _ in relation.on for slot in slots_of(expression)}
        return replace(
            relation, source=prune(relation.source, (needed - {slot for _, slot in columns}) | below), columns=columns
        )
    sides = output_slots(relation.source), output_slots(relation.other)
    left = {slot for slot, _ in relation.on} | (needed & sides[0])
    right = {slot for _, slot in relation.on} | (needed & sides[1])
    return replace(relation, source=prune(relation.source, left), other=prune(relation.other, right))
