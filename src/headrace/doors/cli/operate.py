"""run, up, logs, doctor: running Headrace on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.doors.cli.common import Files, Format, Output, Reset, State, open_state, print_data, say, settings

Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on. Default: 127.0.0.1", show_default=False)
]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on. Default: 5000", show_default=False)]

Answers = Annotated[
    str | None,
    typer.Option(
        "--answers",
        help="What to do with an answer that cannot be recorded: best-effort sends and counts it, required refuses it. Default: best-effort",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.command("run", epilog="Example: headrace run -f examples/support --until-idle -o json")(run)
    app.command("up", epilog="Example: headrace apply -f headrace.yaml && headrace up")(up)
    app.command("logs", epilog="Example: headrace logs train/default.support-desk")(logs)
    app.command("doctor")(doctor)


def run(
    files: Files,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Exits once everything is read and learned.")
    ] = False,
    output: Format = Output.table,
    state: State = None,
    host: Host = None,
    port: Port = None,
    answers: Answers = None,
    live: Annotated[
        bool | None,
        typer.Option("--live/--no-live", help="Shows the live view. Default: on a terminal.", show_default=False),
    ] = None,
    reset: Reset = False,
) -> None:
    """Applies the files and runs everything applied, in the foreground; Ctrl-C stops it cleanly."""
    from headrace.control.resource_store import ResourceStore
    from headrace.doors.cli.declare import apply_files

    log = open_state(state, create=True)
    apply_files(files, log, settings(state), reset=reset)
    _supervise(
        ResourceStore(log).all(),
        log,
        settings(state, host=host, port=port, answers=answers),
        until_idle=until_idle,
        output=output,
        live=live,
    )


def up(
    state: State = None,
    host: Host = None,
    port: Port = None,
    answers: Answers = None,
    live: Annotated[
        bool | None,
        typer.Option("--live/--no-live", help="Shows the live view. Default: on a terminal.", show_default=False),
    ] = None,
) -> None:
    """Runs everything applied, and the gateway, in the foreground; Ctrl-C stops it cleanly."""
    from headrace.control.resource_store import ResourceStore
    from headrace.foundation.errors import NotFoundError

    log = open_state(state)
    resources = ResourceStore(log).all()
    if not resources:
        raise NotFoundError("nothing has been applied", next_step="Run `headrace apply -f FILE` first.")
    _supervise(
        resources,
        log,
        settings(state, host=host, port=port, answers=answers),
        until_idle=False,
        output=Output.table,
        live=live,
    )


def _supervise(
    resources: "list[Any]", log: Any, chosen: Any, *, until_idle: bool, output: Output, live: bool | None
) -> None:
    import sys

    from headrace.control.address import open_address
    from headrace.control.applied import Applied
    from headrace.control.resource_store import ResourceStore
    from headrace.control.run import run_until
    from headrace.control.summary import summary
    from headrace.doors.cli.live_view import open_view
    from headrace.kinds.topology import topology
    from headrace.stages.serve.options import DoorOptions, ServedModel

    chosen = open_address(chosen)
    plan = topology(resources, chosen)
    for one in plan.not_ready:
        say(f"{one.id}: Ready=False ({one.reason}): {one.message}")
    for note in plan.notes:
        say(f"{note.id}: {note.message}")
    shown = sys.stderr.isatty() if live is None else live
    view = open_view(log, plan, DoorOptions(chosen.host, chosen.port, chosen.api_key), live=shown)
    if not until_idle and plan.options(ServedModel):
        say(
            f"the gateway will listen on http://{chosen.host}:{chosen.port} once its models are loaded; Ctrl-C stops it"
        )
    outcome = run_until(
        plan, log, chosen, until_idle=until_idle, view=view, applied=Applied(ResourceStore(log), chosen).look
    )
    result = summary(log, plan)
    if until_idle:
        if output is Output.table:
            from headrace.doors.cli.summary_text import summary_text

            typer.echo(summary_text(result))
        else:
            print_data(result, output)
    if outcome.failure:
        say(f"error: {outcome.failure}")
        raise typer.Exit(outcome.exit_code)
    if until_idle and plan.not_ready:
        raise typer.Exit(1)


def logs(
    role: Annotated[
        str | None, typer.Argument(help="Role, such as ingest or train/default.NAME. Omit to list the roles.")
    ] = None,
    follow: Annotated[bool, typer.Option("-F", "--follow", help="Follows the log; Ctrl-C stops.")] = False,
    state: State = None,
) -> None:
    """Prints the log of a role."""
    from headrace.control.role_log import RoleLog, role_logs
    from headrace.foundation.clock import SYSTEM_CLOCK
    from headrace.foundation.errors import NotFoundError

    folder = settings(state).state
    names = role_logs(folder)
    if role is None:
        for name in names:
            typer.echo(name)
        return
    found = RoleLog(folder, role)
    if not found.path.exists():
        raise NotFoundError(
            f"there is no log for the role {role!r}", next_step=f"use one of: {', '.join(names) or 'none yet'}"
        )

    def more() -> bool:
        if follow:
            SYSTEM_CLOCK.sleep(0.2)
        return follow

    for text in found.text(more):
        typer.echo(text, nl=False)


def doctor(output: Format = Output.table) -> None:
    """Shows what this machine has and lacks."""
    from headrace.control.machine import examine

    rows = examine(Path.cwd())
    print_data(
        [{"what": c.what, "ok": "yes" if c.ok else "no", "found": c.found} for c in rows],
        output,
        ("what", "ok", "found"),
    )
    if not all(check.ok for check in rows if check.needed):
        raise typer.Exit(1)
