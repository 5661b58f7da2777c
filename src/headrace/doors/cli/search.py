"""search: what a knowledge base finds, and why."""

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.doors.cli.common import Namespace, State, open_state, print_data, say, settings
from headrace.foundation.resource_id import ResourceId

if TYPE_CHECKING:
    from headrace.knowledge.query import AsOf
    from headrace.knowledge.retriever import Retrieved

BATCH = 64


class Mode(str, Enum):
    """Ways of searching."""

    vector = "vector"
    keyword = "keyword"
    hybrid = "hybrid"


class Output(str, Enum):
    """How results are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    yaml = "yaml"


EPILOG = (
    "Examples: headrace search policies 'How much is a transfer abroad?' · "
    "headrace search policies 'fees' --filter product=cards --mode keyword -o json · "
    "headrace search policies --queries questions.jsonl -o jsonl"
)


def search(
    knowledge_base: Annotated[str, typer.Argument(help="A KnowledgeBase's name.")],
    question: Annotated[str | None, typer.Argument(help="The question.", show_default=False)] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            help="JSON Lines with a field `query` (or `text`, `question`): one search per line.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=1000, show_default=False, help="Maximum number of passages.")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", show_default=False, help="Default: as the knowledge base declares.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--filter", help="NAME=VALUE, or a JSON object. May be repeated.", show_default=False),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            show_default=False,
            help="Searches what was visible at this time, such as 2026-11-21T09:00:00Z.",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compares every chunk instead of using the approximate index.")
    ] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="table, json, jsonl or yaml")] = Output.table,
    namespace: Namespace = "default",
    state: State = None,
) -> None:
    """Searches a knowledge base and shows why each passage was found."""
    from headrace.control.knowledge import open_view
    from headrace.foundation.errors import InvalidDeclarationError
    from headrace.knowledge.filters import parse_filter

    if (question is None) == (queries is None):
        raise InvalidDeclarationError("no question was given", next_step="Pass a question or --queries FILE.")
    asked = [{"query": question}] if question is not None else list(_read_queries(queries))
    view = open_view(open_state(state), settings(state), ResourceId("KnowledgeBase", namespace, knowledge_base))
    try:
        conditions = parse_filter(_filter(where or []), names=view.options.columns.metadata)
        moment = _moment(as_of)
        for query in asked:
            found = view.search(
                str(_text(query)), limit=limit, mode=mode.value if mode else None, where=conditions,
                as_of=moment, exact=exact, degrade=True,
            )  # fmt: skip
            if found.degraded:
                say(f"warning: {found.degraded}")
            _show(query, found, output, many=queries is not None)
    finally:
        view.close()


def _show(query: dict[str, Any], found: "Retrieved", output: Output, *, many: bool) -> None:
    from headrace.doors.hits import hit_json, hit_row

    results = [hit_json(hit) for hit in found.hits]
    if output is Output.jsonl:
        typer.echo(json.dumps({**query, "results": results}, ensure_ascii=False))
    elif output is Output.table:
        if many:
            typer.echo(f"\n{_text(query)}")
        print_data([hit_row(rank, hit) for rank, hit in enumerate(found.hits, 1)], _common(output), ())
        if not found.hits:
            say("no passage matches")
    else:
        print_data({**query, "version": found.generation, "results": results}, _common(output))


def _common(output: Output) -> Any:
    from headrace.doors.cli.common import Output as Common

    return Common(output.value)


def _read_queries(path: Path | None) -> Iterator[dict[str, Any]]:
    from headrace.foundation.errors import InvalidDeclarationError, NotFoundError

    assert path is not None
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist", next_step="Pass an existing file.")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                query = json.loads(line)
            except ValueError as error:
                raise InvalidDeclarationError(f"not JSON: {error}", where=f"{path}:{number}") from error
            if not isinstance(query, dict) or not isinstance(_text(query), str):
                raise InvalidDeclarationError(
                    "has no question", where=f"{path}:{number}", next_step='Write {"query": "…"} on each line.'
                )
            yield query


def _text(query: dict[str, Any]) -> Any:
    return next((query[name] for name in ("query", "text", "question") if name in query), None)


def _filter(given: list[str]) -> dict[str, object]:
    from headrace.foundation.errors import InvalidDeclarationError

    wanted: dict[str, object] = {}
    for text in given:
        if text.lstrip().startswith("{"):
            try:
                wanted |= json.loads(text)
            except ValueError as error:
                raise InvalidDeclarationError(f"not JSON: {error}", where="--filter") from error
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidDeclarationError(f"{text!r} is not a filter", where="--filter", next_step="Write NAME=VALUE.")
        wanted[name.strip()] = _value(value.strip())
    return wanted


def _value(text: str) -> object:
    """5, 1.5, true and false become numbers and booleans; everything else is text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text


def _moment(text: str | None) -> "AsOf | None":
    from datetime import UTC, datetime

    from headrace.foundation.errors import InvalidDeclarationError
    from headrace.knowledge.query import AsOf

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidDeclarationError(
            f"{text!r} is not a time", where="--as-of", next_step="Write a time such as 2026-11-21T09:00:00Z."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return AsOf(round(moment.timestamp() * 1000))
