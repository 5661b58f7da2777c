"""topics, read, replay, lineage: what is in the log."""

from typing import Annotated, Any

import typer

from headrace.doors.cli.common import Format, Output, State, open_state, print_data, say


def register(app: typer.Typer) -> None:
    app.command("topics")(topics)
    app.command("read", epilog="Example: headrace read default.support-desk.examples --from 100 --limit 5 -o json")(
        read
    )
    app.command("replay", epilog="Example: headrace replay default.support-desk.dead.label")(replay)
    app.command("lineage", epilog="Example: headrace lineage 3f1c… -o json")(lineage)


def topics(output: Format = Output.table, state: State = None) -> None:
    """Lists the topics with their sizes and each reader's lag."""
    log = open_state(state)
    rows = [
        {
            "topic": info.spec.name, "records": info.end_offset - info.start_offset, "from": info.start_offset, "bytes": info.bytes,
            "lag": {group.group: info.end_offset - group.next_offset for group in log.groups(info.spec.name)},
        }
        for info in log.topics()
    ]  # fmt: skip
    print_data(rows, output, ("topic", "records", "from", "bytes", "lag"))


def read(
    topic: Annotated[str, typer.Argument(help="Topic name, as listed by `headrace topics`.")],
    start: Annotated[int, typer.Option("--from", help="First offset. Negative: counted from the end.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", help="Maximum number of records.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Waits for more records; Ctrl-C stops.")] = False,
    output: Format = Output.json,
    state: State = None,
) -> None:
    """Prints a topic's records, one JSON object per line."""
    from headrace.control.lineage import describe

    log = open_state(state)
    info = log.topic(topic)
    offset = max(0, info.end_offset + start) if start < 0 else start
    left = limit
    rows: list[dict[str, Any]] = []
    while left is None or left > 0:
        records = log.read(topic, offset, max_records=min(1000, left or 1000))
        if not records:
            if not follow:
                break
            log.wait(1.0)
            continue
        for record in records:
            if output is Output.json:
                _print_line(describe(topic, record))
            else:
                rows.append(describe(topic, record))
        offset = records[-1].offset + 1
        left = None if left is None else left - len(records)
    if output is not Output.json:
        print_data(rows, output, ("offset", "id", "kind", "eventTime", "value"))


def _print_line(data: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(data, ensure_ascii=False))


def replay(
    topic: Annotated[str, typer.Argument(help="A dead-letter topic.")],
    all_letters: Annotated[
        bool, typer.Option("--all", help="Also sends letters that, according to their stage, a replay cannot help.")
    ] = False,
    state: State = None,
) -> None:
    """Resends each dead letter, once, to the topic it failed in."""
    from headrace.control.replay import replay_dead_letters

    report = replay_dead_letters(open_state(state), topic, everything=all_letters)
    say(f"{report.sent} resent{' to ' if report.targets else ''}{', '.join(report.targets)}")
    if report.not_asked:
        say(f"{report.not_asked} not sent: their stage says that a replay cannot help. Pass --all to send them anyway")
    if report.lost:
        say(f"{report.lost} not sent: their records are no longer in the log")


def lineage(
    record_id: Annotated[
        str,
        typer.Argument(
            help="Id of an answer, an example, a decision, a row, an event or a document; DOCUMENT@VERSION."
        ),
    ],
    namespace: Annotated[
        str | None, typer.Option("-n", "--namespace", help="Namespace to search. Default: all.", show_default=False)
    ] = None,
    output: Format = Output.table,
    state: State = None,
) -> None:
    """Shows where a record came from and what was made of it."""
    from headrace.control.lineage import trace

    came_from, became = trace(open_state(state), record_id, namespace)
    if output is not Output.table:
        print_data({"cameFrom": came_from, "became": became}, output)
        return
    for title, steps in (("came from", came_from), ("became", became)):
        typer.echo(f"{title}:")
        for step in steps:
            typer.echo(f"  {step['topic']}@{step.get('offset', '-')}  {step['id']}  {_short(step.get('value', ''))}")
            for one in step.get("passages", ()):
                typer.echo(f"    from {one['document']}@{one['version']}, chunk {one['chunk']}")


def _short(value: object) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "…"
