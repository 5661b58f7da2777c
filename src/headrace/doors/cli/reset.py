"""reset, and what `delete --purge` shares with it: shows the cost, submits the request and waits for it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.doors.cli.common import Namespace, State, open_state, say, settings
from headrace.foundation.resource_id import DEFAULT_NAMESPACE, ResourceId

if TYPE_CHECKING:
    from headrace.control.requests import Request
    from headrace.control.reset_costs import StageCost
    from headrace.foundation.settings import Settings
    from headrace.log.topic_log import TopicLog
    from headrace.stages.topology import Topology


def register(app: typer.Typer) -> None:
    app.command(
        "reset",
        epilog="Examples: headrace reset StreamFinetuner/desk --from model; headrace reset knowledgebase handbook --from knowledge --dry-run",
    )(reset)


def reset(
    resource: Annotated[list[str], typer.Argument(help="KIND/NAME, or KIND NAME.", metavar="RESOURCE")],
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where to start: source, rows, labels, model or knowledge, or a type of stage.",
            show_default=False,
        ),
    ],
    namespace: Namespace = DEFAULT_NAMESPACE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only shows what would be read, asked and paid for again.")
    ] = False,
    state: State = None,
) -> None:
    """Reprocesses everything from one stage of a resource onwards, downstream included. Versions are kept."""
    from headrace.control.requests import Request
    from headrace.control.reset import scope
    from headrace.control.reset_costs import reset_costs
    from headrace.control.resource_store import ResourceStore
    from headrace.doors.cli.resources import matching

    log, chosen = open_state(state), settings(state)
    kind, name = named(resource)
    found = matching(ResourceStore(log).all(), kind, name, namespace)[0]
    costs = reset_costs(scope(_topology(log, chosen), found.id, start), log, chosen.state)
    typer.echo(costs_text(costs))
    if not dry_run:
        _ask(Request("reset", str(found.id), start), log, chosen)


def purge_resource(resource: ResourceId, log: "TopicLog", chosen: "Settings", *, dry_run: bool) -> None:
    """Lists what would be deleted; without `dry_run`, deletes it."""
    from headrace.control.purge import held, scope
    from headrace.control.requests import Request

    found = scope(_topology(log, chosen), resource)
    sizes = held(found, log, chosen.state)
    for what, size in sizes.items():
        typer.echo(f"  {what}: {size:,} bytes")
    for one in found.readers:
        typer.echo(f"  {one.name} reads a deleted topic and will find nothing there")
    typer.echo(f"{'would free' if dry_run else 'frees'} {sum(sizes.values()):,} bytes")
    if not dry_run:
        _ask(Request("purge", str(resource)), log, chosen)


def stop_and_delete(resource: ResourceId, log: "TopicLog", chosen: "Settings") -> bool:
    """Stops the resource on its cluster, then deletes it. False: it runs on no cluster, and nothing was done."""
    from headrace.control.deletion import runs_elsewhere
    from headrace.control.requests import Request
    from headrace.stages.context import backends_of

    if not runs_elsewhere(_topology(log, chosen), resource, backends_of(chosen)):
        return False
    _ask(Request("delete", str(resource)), log, chosen)
    return True


def named(words: Sequence[str]) -> tuple[str, str]:
    """Kind and name of `KIND/NAME` or `KIND NAME`."""
    from headrace.foundation.errors import InvalidDeclarationError

    parts = words[0].split("/") if len(words) == 1 else list(words)
    if len(parts) != 2 or not all(parts):
        raise InvalidDeclarationError(
            f"{' '.join(words)!r} names no resource", next_step="Write KIND/NAME, such as StreamFinetuner/desk."
        )
    return parts[0], parts[1]


def costs_text(costs: "Sequence[StageCost]") -> str:
    """A few lines per stage, the namespaces and the sums."""
    lines: list[str] = []
    for one in costs:
        total = sum(one.reads.values())
        lines.append(
            f"{one.stage} ({one.resource}): {total:,} {one.work}"
            if one.reads
            else f"{one.stage} ({one.resource}): {one.work}"
        )
        lines += [f"  truncates {name} ({count:,} records)" for name, count in one.truncates.items()]
        lines += [
            f"  {name}: retention has dropped {count:,} records; they cannot be read again"
            for name, count in one.lost.items()
        ]
        if one.asked or one.from_cache:
            price = f"about {one.tokens:,} tokens, {one.usd:.4f} USD"
            lines.append(
                f"  {one.asked:,} prompts are asked and paid for again ({price}); {one.from_cache:,} answers come from the cache"
            )
    spaces = sorted({one.resource.namespace for one in costs})
    lines.append(f"{len(costs)} stages in {', '.join(spaces)}; versions and the alias stay")
    return "\n".join(lines)


def _topology(log: "TopicLog", chosen: "Settings") -> "Topology":
    from headrace.control.resource_store import ResourceStore
    from headrace.kinds.topology import topology

    return topology(ResourceStore(log).all(), chosen)


def _ask(request: "Request", log: "TopicLog", chosen: "Settings") -> None:
    from headrace.control.asking import ask

    try:
        outcome = ask(request, log, chosen, lambda: _topology(log, chosen))
    except KeyboardInterrupt:
        say("interrupted; the request is stored, and the next `headrace up` or `headrace run` performs it")
        raise typer.Exit(130) from None
    if outcome.exit_code:
        say(f"error: {outcome.message}")
        raise typer.Exit(outcome.exit_code)
    typer.echo(outcome.message)
