"""Aggregates that Flink computes differently: it writes their values in order, and the reader of the output computes them."""

import math
from collections.abc import Sequence
from fractions import Fraction

from headrace.streams.expression import AggregateCall, Ref, Slot, slots_of
from headrace.streams.flink.sql.aggregates import DEFERRED
from headrace.streams.logical_plan import Aggregate, LogicalPlan, Project, Relation


def deferred_columns(logical: LogicalPlan, root: Relation) -> dict[int, tuple[Slot, AggregateCall]]:
    """Places in the output, with the aggregate's own column: those that nothing reads on the way."""
    projects: list[Project] = []
    while isinstance(root, Project):
        projects.append(root)
        root = root.source
    if not isinstance(root, Aggregate):
        return {}
    carried = {slot: (slot, call) for slot, call in root.aggregates if call.name in DEFERRED}
    for project in reversed(projects):
        read = slots_of(project.where) if project.where is not None else set[Slot]()
        read |= {slot for _, one in project.columns if not isinstance(one, Ref) for slot in slots_of(one)}
        spoilt = {found[0] for slot, found in carried.items() if slot in read}
        kept = {slot: found for slot, found in carried.items() if found[0] not in spoilt}
        carried = {slot: kept[one.slot] for slot, one in project.columns if isinstance(one, Ref) and one.slot in kept}
    return {place: carried[slot] for place, (_, slot) in enumerate(logical.columns) if slot in carried}


def compute(call: AggregateCall, values: Sequence[float]) -> float | None:
    """The aggregate of values in order; None where it is NULL."""
    if call.name == "PERCENTILE":
        return _percentile(sorted(values), float(str(getattr(call.arguments[1], "value", 0)))) if values else None
    return _deviation(call.name, values)


def _percentile(values: Sequence[float], share: float) -> float:
    """Between the two nearest: low * (1 - part) + high * part, the first product not rounded, as DuckDB's is not."""
    place = (len(values) - 1) * share
    low, high, part = values[math.floor(place)], values[math.ceil(place)], place - math.floor(place)
    if not math.isfinite(low + high):
        return low * (1.0 - part) + high * part
    return float(Fraction(low) * Fraction(1.0 - part) + Fraction(high * part))


def _deviation(name: str, values: Sequence[float]) -> float | None:
    """Variance or standard deviation by Welford's steps."""
    count, mean, squares = 0, 0.0, 0.0
    for value in values:
        count += 1
        difference = value - mean
        mean += difference / count
        squares += difference * (value - mean)
    least = 2 if name.endswith("SAMP") else 1
    if count < least:
        return None
    variance = squares / (count - least + 1) if count > 1 else 0.0
    return math.sqrt(variance) if name.startswith("STDDEV") else variance
