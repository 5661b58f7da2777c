"""Options that every command takes, and how results are printed."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.foundation.settings import Settings
    from headrace.log.topic_log import TopicLog


class Output(str, Enum):
    """How results are printed."""

    json = "json"
    yaml = "yaml"
    table = "table"


class RowOutput(str, Enum):
    """How rows of a query are printed."""

    jsonl = "jsonl"
    csv = "csv"
    table = "table"
    parquet = "parquet"


State = Annotated[
    Path | None, typer.Option("--state", help="State directory. Default: ./.headrace", show_default=False)
]
Format = Annotated[Output, typer.Option("-o", "--output", help="json, yaml or table")]
Files = Annotated[
    list[str],
    typer.Option("-f", "--filename", help="YAML file, folder or glob, or - for standard input. May be repeated."),
]
AllNamespaces = Annotated[bool, typer.Option("-A", "--all-namespaces", help="All namespaces.")]
Reset = Annotated[bool, typer.Option("--reset", help="Also applies changes that need a reset, and performs the reset.")]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the resource.")]


def settings(state: Path | None = None, **overrides: object) -> "Settings":
    """Precedence: options, environment, headrace.toml, defaults."""
    import os

    from headrace.foundation.settings import load_settings

    given = {key: value for key, value in overrides.items() if value is not None}
    if state is not None:
        given["state"] = state
    return load_settings(Path.cwd(), os.environ, given)


def open_state(state: Path | None, *, create: bool = False) -> "TopicLog":
    """The log of the state directory. Without `create`, a missing directory is an error that says what to do."""
    from headrace.foundation.errors import NotFoundError
    from headrace.log.registry import open_log

    chosen = settings(state)
    directory = chosen.state
    if not create and not directory.exists():
        raise NotFoundError(
            f"{directory} does not exist",
            next_step="Run `headrace apply -f FILE` or `headrace run -f FILE` first, or pass --state DIR.",
        )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return open_log(directory, technology=chosen.log, options=chosen.log_options)


def say(text: str) -> None:
    """A line for people."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_data(data: object, output: Output, columns: Sequence[str] = ()) -> None:
    """Prints plain data (dicts, lists, numbers, strings); as a table: a list of mappings, by `columns`."""
    if output is Output.json:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))
    elif output is Output.yaml:
        import yaml

        typer.echo(
            yaml.safe_dump(json.loads(json.dumps(data, default=str)), sort_keys=False, allow_unicode=True).rstrip()
        )
    else:
        print_table(data, columns)


def print_table(data: object, columns: Sequence[str]) -> None:
    """Rows in columns wide enough for their text; a mapping becomes two columns."""
    rows: list[Mapping[str, object]] = (
        [{"field": key, "value": value} for key, value in data.items()]  # pyright: ignore[reportUnknownMemberType]
        if isinstance(data, dict)
        else list(data)  # pyright: ignore[reportArgumentType]
    )
    names = list(columns) or (list(rows[0]) if rows else [])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(*([names, *cells]), strict=True)] if names else []
    for line in [[name.upper() for name in names], *cells]:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else str(value)
