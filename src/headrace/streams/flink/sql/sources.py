"""The rows and signs of a job's inputs."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from headrace.streams.expression import Now, walk
from headrace.streams.flink.sql.aggregates import order_number
from headrace.streams.flink.sql.tables import HIGHEST, LOWEST, ROW, SIGN, RowTime, Source, last_end, source_table
from headrace.streams.flink.sql.types import epoch_ms, inner_type, name, text
from headrace.streams.flink.sql.views import View, Views
from headrace.streams.logical_plan import (
    Frame,
    Relation,
    Scan,
    StreamJoin,
    TableJoin,
    Window,
    expressions,
    relations,
    sources,
)
from headrace.streams.stream_engine import StreamInput
from headrace.streams.stream_job import JobSpec

LONG_AGO = -(1 << 61)
"""The watermark before the first row, ms."""


def write_sources(job: JobSpec, root: Relation, views: Views) -> dict[str, Source]:
    """A table per input that the query reads, and the rows of each Scan as a view. Gives the tables by input."""
    scans = [one for one in relations(root) if isinstance(one, Scan)]
    found: dict[str, Source] = {}
    for stream in {one.stream.name: one.stream for one in scans}.values():
        own = [one for one in scans if one.stream.name == stream.name]
        columns: dict[str, pa.DataType] = {label: slot.type for one in own for label, slot in one.columns}
        time = _row_time(job, root, stream)
        label = f"input_{list(job.query.inputs).index(stream)}"
        found[stream.name] = source_table(
            label, job.inputs[stream.name], columns, time, job.options.offsets.get(stream.name)
        )
        for scan in own:
            views.scans[id(scan)] = _rows(views, scan, found[stream.name], time, timeline=job.query.timeline)
    return found


def _rows(views: Views, scan: Scan, source: Source, time: RowTime | None, *, timeline: str) -> View:
    mark = source.mark
    items = [f"{inward(name(label), slot.type)} AS {slot.column}" for label, slot in scan.columns]
    columns = [slot.column for _, slot in scan.columns]
    before = _watermark(source, time, scan.stream.out_of_orderness_ms) if time and time.rows == "{t}" else None
    now = f"{mark}ingested"
    if timeline == "event":
        now = f"GREATEST({before} + {scan.stream.out_of_orderness_ms}, {mark}t)" if before else f"{mark}t"
    hidden = {
        "_t": f"{mark}t", "_o": order_number(f"{mark}t", f"{mark}offset"), "_off": f"{mark}offset", "_g": f"{mark}ingested",
        "_n": now, "_id": f"{mark}id", "_key": f"COALESCE({mark}key, '')",
    }  # fmt: skip
    if time is not None:
        hidden["_rt"] = f"{mark}rt"
    if before:
        hidden["_b"] = before
    items += [f"{sql} AS {label}" for label, sql in hidden.items()]
    select = f"SELECT {', '.join(items)}\nFROM {source.table.name}\nWHERE {mark}kind = '{ROW}'"
    return views.add("read", select, [*columns, *hidden])


def _watermark(source: Source, time: RowTime, behind_ms: int) -> str:
    """The watermark before a row, in ms, from what its record says of its stream.

    It says the same whenever it is read, while CURRENT_WATERMARK is in no checkpoint: the first rows behind a restart would find none,
    and open windows again that have closed. That one is for records whose writer said nothing.
    """
    mark, never = source.mark, f"CAST({LONG_AGO} AS BIGINT)"
    ended = f"{time.end.format(t=f'{mark}ended', offset=f'{mark}offset')} - {behind_ms}"
    told = f"GREATEST({mark}latest - {behind_ms}, CASE WHEN {mark}ended IS NULL THEN {never} ELSE {ended} END)"
    current = f"{epoch_ms(f'CAST(CURRENT_WATERMARK({mark}rt) AS TIMESTAMP(3))')} + 1"
    return f"COALESCE({told}, {current}, {never})"


def write_signs(found: Mapping[str, Source]) -> Sequence[str]:
    """SELECTs of the inputs' signs: input, sign, offset."""
    return [
        f"SELECT {text(stream)} AS _input, {one.mark}key AS _sign, {one.mark}offset AS _off\nFROM {one.table.name}\n"
        f"WHERE {one.mark}kind = '{SIGN}' AND {one.mark}key IN ('end', 'idle')"
        for stream, one in found.items()
    ]


def table_end(source: Source) -> str:
    """A SELECT of the sign behind a static table's last row."""
    return f"SELECT {source.mark}key AS _end\nFROM {source.table.name}\nWHERE {source.mark}kind = '{SIGN}' AND {source.mark}key = 'end'"


def inward(column: str, kind: pa.DataType) -> str:
    """A column of canonical JSON as it goes inside the job."""
    return f"CAST({column} AS {inner_type(kind)})" if pa.types.is_timestamp(kind) and kind.tz else column


def _row_time(job: JobSpec, root: Relation, stream: StreamInput) -> RowTime | None:
    """By what the rows of an input go: event time where windows, joined streams or the stream's own `now()` need it, else none."""
    tree = list(relations(root))
    joined = any(isinstance(one, StreamJoin) for one in tree)
    frames = _frames(root, stream.name)
    if not frames and not joined and not (job.query.timeline == "event" and _reads_now(tree)):
        if any(isinstance(one, TableJoin) for one in tree):
            return RowTime("{offset}", "{offset}", "{offset}", 0)
        return None
    behind = stream.out_of_orderness_ms + 1
    if joined:
        return RowTime("{t}", str(HIGHEST), "{t}", behind)
    end = "{t}"
    for place, frame in enumerate(frames):
        end = last_end(end if place == 0 else f"({end} - 1)", frame)
    return RowTime("{t}", f"({end} + {behind - 1})" if frames else "{t}", f"CAST({LOWEST} AS BIGINT)", behind)


def _frames(relation: Relation, stream: str) -> list[Frame]:
    """The frames of the windows between an input and the top, from below; of several ways the longest."""
    if isinstance(relation, Scan):
        return []
    ways = [_frames(one, stream) for one in sources(relation) if _reads(one, stream)]
    longest = max(ways, key=len, default=[])
    return [*longest, relation.frame] if isinstance(relation, Window) else longest


def _reads(relation: Relation, stream: str) -> bool:
    return any(isinstance(one, Scan) and one.stream.name == stream for one in relations(relation))


def _reads_now(tree: Sequence[Relation]) -> bool:
    return any(isinstance(part, Now) for one in tree for whole in expressions(one) for part in walk(whole))
