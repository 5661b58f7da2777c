"""A running query: sources at the bottom, steps above them, rows with ids at the top."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.events.dead_letter import DeadLetter
from headrace.events.origin import Origin, encode_origin
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, StateVersionError
from headrace.foundation.ids import derive_id
from headrace.streams.duckdb.arrow_form import inward, outward
from headrace.streams.duckdb.flow import Failure, Flow, Report, Step
from headrace.streams.duckdb.numbers import from_numbers, to_numbers
from headrace.streams.logical_plan import Scan
from headrace.streams.stream_engine import LateRow, QueryOutput, QueryPlan, QuerySpec, StreamInput
from headrace.streams.watermark import BEGINNING, InputWatermark, Times, combined

STATE_VERSION = 2
PROGRESS = "progress"
_PAYLOAD_LIMIT = 64 << 10


@dataclass(slots=True)
class Node:
    """A step at its place in the tree."""

    step: Step
    prefix: str
    parent: "Node | None" = None
    port: int = 0


@dataclass(slots=True)
class Leaf:
    """Where a stream enters; `parent` None: the query gives it out as it is."""

    scan: Scan
    named: bool
    """Whether ids and keys go along with its rows."""
    parent: Node | None = None
    port: int = 0


@dataclass(slots=True)
class Machine:
    """A query, built."""

    leaves: list[Leaf] = field(default_factory=list[Leaf])
    nodes: list[Node] = field(default_factory=list[Node])


class DuckDBQuery:
    """The port's `StreamQuery`."""

    def __init__(
        self, spec: QuerySpec, plan: QueryPlan, machine: Machine, columns: Sequence[str], state: Mapping[str, bytes]
    ) -> None:
        """`columns`: the steps' names of the output's columns."""
        self._spec, self._plan, self._machine, self._columns = spec, plan, machine, columns
        self._inputs = {one.name: one for one in spec.inputs if one.name in plan.inputs}
        self._marks = {name: InputWatermark(one.out_of_orderness_ms) for name, one in self._inputs.items()}
        self._saved = b""
        if state:
            self._restore(state)

    # --- what goes in ---

    def process(self, name: str, rows: RowBatch) -> QueryOutput:
        self._known(name)
        times = to_numbers(rows.event_times)
        mark = self._marks[name]
        if not len(times):
            return QueryOutput(None)
        running, before = mark.advance(times)
        first = mark.arrive(to_numbers(rows.ingested_at))
        report, out = Report(), list[pa.Table]()
        for leaf in self._leaves(name):
            table = self._table(leaf, rows, running, before)
            self._push(leaf, Flow(table, mark.value, arrived=first), report, out)
        return self._output(name, rows, report, out)

    def idle(self, name: str) -> QueryOutput:
        self._known(name)
        self._marks[name].holds = False
        return self._sign(name, Flow(None, self._marks[name].value, idle=True))

    def end_of_input(self, name: str) -> QueryOutput:
        self._known(name)
        self._marks[name].holds = False
        return self._sign(name, Flow(None, self._marks[name].value, idle=True, final=True))

    def caught_up(self, name: str, arrived_ms: int) -> QueryOutput:
        self._known(name)
        mark = self._marks[name]
        return self._sign(name, Flow(None, mark.value, idle=not mark.holds, reached=arrived_ms))

    def newest_arrival(self) -> int:
        return max(mark.arrived for mark in self._marks.values())

    def _sign(self, name: str, flow: Flow) -> QueryOutput:
        report, out = Report(), list[pa.Table]()
        for leaf in self._leaves(name):
            self._push(leaf, flow, report, out)
        return self._output(name, None, report, out)

    def watermark(self) -> int | None:
        value = combined(self._marks)
        return None if value == BEGINNING else value

    def _known(self, name: str) -> None:
        if name not in self._inputs:
            raise InvalidDeclarationError(
                f"the query reads no input {name!r}", next_step=f"use {', '.join(self._inputs)}"
            )

    def _leaves(self, name: str) -> list[Leaf]:
        return [leaf for leaf in self._machine.leaves if leaf.scan.stream.name == name]

    def _table(self, leaf: Leaf, rows: RowBatch, running: Times, before: Times) -> pa.Table:
        """The columns that the query reads, beside the hidden ones."""
        columns = [inward(rows.table[name], slot.type) for name, slot in leaf.scan.columns]
        now = rows.ingested_at if self._spec.timeline == "arrival" else from_numbers(running)
        hidden = {
            "_t": rows.event_times, "_g": rows.ingested_at, "_n": now, "_b": from_numbers(before),
            "_i": from_numbers(np.arange(rows.num_rows)),
        }  # fmt: skip
        if leaf.named:
            hidden |= {"_id": rows.ids, "_key": rows.keys, "_origin": _origins(leaf.scan.stream, rows)}
        names = [slot.column for _, slot in leaf.scan.columns]
        return pa.table([*columns, *hidden.values()], names=[*names, *hidden])

    def _push(self, leaf: Leaf, flow: Flow, report: Report, out: list[pa.Table]) -> None:
        parent, port = leaf.parent, leaf.port
        while parent is not None:
            flow = parent.step.run(port, flow, report)
            parent, port = parent.parent, parent.port
        if flow.rows is not None and flow.rows.num_rows:
            out.append(flow.rows)

    # --- what comes out ---

    def _output(self, name: str, rows: RowBatch | None, report: Report, out: list[pa.Table]) -> QueryOutput:
        late = [LateRow(name, place, by_ms) for place, by_ms in sorted(set(report.late))]
        dead = [self._letter(name, rows, failure) for failure in report.failed]
        return QueryOutput(self._batch(pa.concat_tables(out)) if out else None, late, dead)

    def _batch(self, table: pa.Table) -> RowBatch:
        schema = self._plan.output.to_arrow()
        columns = [outward(table[one], kind) for one, kind in zip(self._columns, schema.types, strict=True)]
        hidden = [table[one].combine_chunks() for one in ("_id", "_key", "_t", "_g", "_origin")]
        offsets = from_numbers(np.arange(table.num_rows))
        ids, keys, moments, ingested, origins = hidden
        table = pa.table(columns, schema=schema)
        return RowBatch(table, self._plan.output, ids, keys, moments, ingested, origins, offsets)

    def _letter(self, stream: str, rows: RowBatch | None, failure: Failure) -> tuple[str, DeadLetter]:
        payload, offset, topic = "", -1, self._inputs[stream].topic
        name, place = failure.name, failure.place
        if rows is not None and place is not None:
            name, offset = rows.ids[place].as_py(), rows.offsets[place].as_py()
            payload = batch_to_records(rows.slice(place, 1))[0].value.decode()[:_PAYLOAD_LIMIT]
        letter = DeadLetter(
            stage="transform", code=failure.code, reason=failure.reason, origin_id=name,
            payload=payload, source_topic=topic, source_offset=offset,
        )  # fmt: skip
        return derive_id(self._plan.digest, name, "transform"), letter

    # --- state ---

    def snapshot(self) -> Mapping[str, bytes | None]:
        entries: dict[str, bytes | None] = {}
        steps: dict[str, dict[str, Any]] = {}
        for node in self._machine.nodes:
            entries |= node.step.snapshot()
            if progress := node.step.progress():
                steps[node.prefix] = progress
        marks = {name: [mark.latest, mark.holds, mark.arrived] for name, mark in self._marks.items()}
        progress_now = msgspec.json.encode(
            {
                "version": STATE_VERSION,
                "digest": self._plan.digest,
                "marks": marks,
                "steps": steps,
            }
        )
        if progress_now != self._saved:
            entries[PROGRESS] = self._saved = progress_now
        return entries

    def _restore(self, state: Mapping[str, bytes]) -> None:
        try:
            saved = msgspec.json.decode(state[PROGRESS])
            if saved["version"] > STATE_VERSION:
                raise StateVersionError(
                    f"the query's state has version {saved['version']}, but this Headrace reads {STATE_VERSION}",
                    next_step="install a newer Headrace",
                )
            if saved["digest"] != self._plan.digest:
                raise InvalidDeclarationError(
                    "the state belongs to another query", next_step="restore the old query, or start without the state"
                )
            for name, (latest, holds, *arrived) in saved["marks"].items():  # version 1 kept no arrivals
                mark = self._marks[name]
                mark.latest, mark.holds, mark.arrived = latest, holds, arrived[0] if arrived else 0
            for node in self._machine.nodes:
                entries = {key: value for key, value in state.items() if key.startswith(node.prefix)}
                node.step.restore(entries, saved["steps"].get(node.prefix, {}))
        except (KeyError, ValueError, TypeError, msgspec.MsgspecError, pa.ArrowInvalid) as error:
            raise CorruptDataError(f"the query's state cannot be read: {error}") from error
        self._saved = state[PROGRESS]


def _origins(stream: StreamInput, rows: RowBatch) -> pa.Array:
    """`{"topic": …, "offset": …, "id": …}` of each row, as `encode_origin` writes it."""
    head, middle, tail = _origin_parts(stream.topic)
    if _plain_ids(rows.ids):
        offsets = rows.offsets.cast(pa.string())
        return pc.call_function("binary_join_element_wise", [head, offsets, middle, rows.ids, tail, ""])
    pairs = zip(rows.offsets.to_pylist(), rows.ids.to_pylist(), strict=True)
    return pa.array(
        [encode_origin(Origin(topic=stream.topic, offset=offset, id=one)) for offset, one in pairs], pa.string()
    )


def _origin_parts(topic: str) -> tuple[str, str, str]:
    """The text around the offset and the id."""
    text = encode_origin(Origin(topic=topic, offset=7, id="\x01"))
    head, _, rest = text.rpartition('"offset":7')
    middle, _, tail = rest.partition("\\u0001")
    return f'{head}"offset":', middle, tail


def _plain_ids(ids: pa.Array) -> bool:
    """Whether no id needs escaping in JSON."""
    options = pc.MatchSubstringOptions(r'["\\\x00-\x1f]')
    return not pc.call_function("any", [pc.call_function("match_substring_regex", [ids], options)]).as_py()
