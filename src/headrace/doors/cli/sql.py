"""sql: a stream query over files, its rows to stdout."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.doors.cli.common import RowOutput, say
from headrace.foundation.resource_id import DEFAULT_NAMESPACE, ResourceId

if TYPE_CHECKING:
    from headrace.connectors.source import SourceOptions
    from headrace.events.schema import RowSchema
    from headrace.stages.transform.static_table import LoadedTable

EPILOG = (
    "Example: headrace sql --source trades=trades.jsonl --event-time event_time --out-of-orderness 5s "
    '"SELECT window_start, window_end, symbol, SUM(amount) AS volume FROM TABLE(TUMBLE(TABLE trades, '
    "DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, symbol\""
)
SHOWN = 20
"""Dead letters and late rows to list individually."""


def sql_command(
    query: Annotated[str | None, typer.Argument(help="One SELECT.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Reads the query from a file.")] = None,
    source: Annotated[
        list[str],
        typer.Option("--source", help="NAME=PATH: a file, glob or folder, or a YAML file with one StreamConnector."),
    ] = [],  # noqa: B006 - Typer copies it
    table: Annotated[list[str], typer.Option("--table", help="NAME=PATH: a bounded file to join as a table.")] = [],  # noqa: B006
    schema: Annotated[
        list[str],
        typer.Option("--schema", help="NAME=COLUMN TYPE, …: columns of a source or table. Default: inferred."),
    ] = [],  # noqa: B006
    event_time: Annotated[str | None, typer.Option("--event-time", help="Column that holds the event time.")] = None,
    out_of_orderness: Annotated[
        str, typer.Option("--out-of-orderness", help="Maximum delay of a row, such as 5s.")
    ] = "0s",
    follow: Annotated[bool, typer.Option("--follow", help="Keeps reading as the files grow; Ctrl-C stops.")] = False,
    timeline: Annotated[
        str, typer.Option("--timeline", help="What now() returns: event (the stream's time) or arrival.")
    ] = "event",
    parallelism: Annotated[int, typer.Option("--parallelism", help="Number of threads.")] = 1,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Folder for checkpoints; a second call resumes from it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write, for -o parquet.")] = None,
    output: Annotated[RowOutput, typer.Option("-o", "--output", help="jsonl, csv, table or parquet")] = RowOutput.jsonl,
) -> None:
    """Runs a stream query over files and prints its rows."""
    import pyarrow as pa

    from headrace.connectors.registry import open_source
    from headrace.connectors.source import SourceContext
    from headrace.doors.cli.query_progress import QueryProgress
    from headrace.doors.cli.row_writers import open_writer
    from headrace.stages.transform.file_query import FileQuery, Receivers, run_query

    pa.set_memory_pool(pa.system_memory_pool())  # gives back what a batch took: 60 MB less than the default pool holds
    schemas = dict(_schema(one) for one in schema)
    options = {
        name: _source_options(name, path, schemas.get(name), event_time, out_of_orderness, follow=follow)
        for name, path in (_named(one, "--source") for one in source)
    }
    if not options:
        raise typer.BadParameter("Name at least one source: --source NAME=PATH")
    wanted = FileQuery(
        _query(query, file),
        {name: open_source(one, SourceContext()) for name, one in options.items()},
        {name: one.event_time for name, one in options.items()},
        [_table(name, path, schemas.get(name)) for name, path in (_named(one, "--table") for one in table)],
        "arrival" if timeline == "arrival" else "event",
        parallelism=parallelism,
        checkpoint=checkpoint,
    )
    with open_writer(output, out) as writer, QueryProgress(SHOWN) as progress:
        receivers = Receivers(writer.write, progress.late, progress.dead, progress.at)
        report = run_query(wanted, receivers)
    say(f"{report.read} rows read, {report.rows} rows out, {report.late} late, {report.dead} dead letters")


def _query(query: str | None, file: Path | None) -> str:
    if (query is None) == (file is None):
        raise typer.BadParameter("Pass the query as an argument or with -f FILE.")
    return query if query is not None else file.read_text("utf-8") if file else ""


def _named(text: str, option: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise typer.BadParameter(f"{option} takes NAME=PATH, not {text!r}")
    return name, path


def _schema(text: str) -> "tuple[str, RowSchema]":
    """`trades=event_time TIMESTAMP_LTZ(3), price DECIMAL(38, 18)`: commas inside brackets belong to the type."""
    from headrace.events.schema import Column, RowSchema, arrow_type

    name, columns = _named(text, "--schema")
    parts = re.split(r",(?![^(<]*[)>])", columns)
    pairs = [part.strip().partition(" ") for part in parts]
    for _, _, kind in pairs:
        arrow_type(kind)
    return name, RowSchema(tuple(Column(column, kind.strip()) for column, _, kind in pairs))


def _source_options(
    name: str, path: str, schema: "RowSchema | None", event_time: str | None, out_of_orderness: str, *, follow: bool
) -> "SourceOptions":
    from headrace.connectors.source import EventTime, SourceOptions
    from headrace.foundation.quantities import parse_duration_ms

    if path.endswith((".yaml", ".yml")):
        return _declared(name, path)
    return SourceOptions(
        ResourceId("StreamConnector", DEFAULT_NAMESPACE, name), "file", {"path": path, "follow": follow}, schema,
        event_time=EventTime(event_time, parse_duration_ms(out_of_orderness), historical=True), base_dir=Path.cwd(),
    )  # fmt: skip


def _declared(name: str, path: str) -> "SourceOptions":
    """The StreamConnector of a YAML file: the one of that name, or the only one."""
    import dataclasses

    from headrace.doors.cli.common import settings
    from headrace.doors.cli.declare import load_or_exit
    from headrace.foundation.errors import NotFoundError
    from headrace.kinds.topology import topology
    from headrace.stages.ingest.options import IngestOptions

    sources = [one.source for one in topology(load_or_exit([path]), settings()).options(IngestOptions)]
    chosen = [one for one in sources if one.id.name == name] or sources
    if len(chosen) != 1:
        names = ", ".join(one.id.name for one in sources) or "none"
        raise NotFoundError(
            f"{path} does not declare exactly one source named {name}", next_step=f"it declares: {names}"
        )
    return dataclasses.replace(chosen[0], id=chosen[0].id.sibling("StreamConnector", name))


def _table(name: str, path: str, schema: "RowSchema | None") -> "LoadedTable":
    from headrace.connectors.source import EventTime, SourceContext, SourceOptions
    from headrace.stages.transform.static_table import load_table

    options = SourceOptions(
        ResourceId("StreamConnector", DEFAULT_NAMESPACE, name),
        "file",
        {"path": path},
        schema,
        event_time=EventTime(historical=True),
        base_dir=Path.cwd(),
    )
    return load_table(name, options, SourceContext(), max_rows=None)
