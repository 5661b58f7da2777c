"""validate, plan, apply: what files declare."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from headrace.doors.cli.common import Files, Format, Output, State, open_state, print_data, say, settings

if TYPE_CHECKING:
    from headrace.kinds.resource import Resource


def register(app: typer.Typer) -> None:
    app.command("validate", epilog="Example: headrace validate -f examples/support")(validate)
    app.command("plan", epilog="Example: headrace plan -f headrace.yaml")(plan)
    app.command("apply", epilog="Example: headrace apply -f headrace.yaml && headrace up")(apply)


def load_or_exit(files: list[str], existing: "Sequence[Resource]" = ()) -> "list[Resource]":
    """The resources of the files, which may name `existing` ones; with a mistake: all of them on stderr, and exit 2."""
    from headrace.kinds.catalog import load

    loaded = load(files, existing=existing)
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    if loaded.mistakes:
        for mistake in loaded.mistakes:
            say(str(mistake))
        say(f"{len(loaded.mistakes)} mistake{'s' if len(loaded.mistakes) != 1 else ''}")
        raise typer.Exit(2)
    return loaded.resources


def validate(files: Files, output: Format = Output.table) -> None:
    """Checks files, and prints every mistake with file and line."""
    from headrace.kinds.catalog import load

    loaded = load(files)
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    for mistake in loaded.mistakes:
        say(str(mistake))
    rows = [{"kind": r.kind, "namespace": r.namespace, "name": r.name} for r in loaded.resources]
    if output is Output.table:
        say(f"{len(rows)} resources, {len(loaded.mistakes)} mistakes")
    else:
        mistakes = [{"file": m.file, "line": m.line, "message": str(m)} for m in loaded.mistakes]
        print_data({"resources": rows, "mistakes": mistakes}, output)
    if loaded.mistakes:
        raise typer.Exit(2)


def plan(files: Files, output: Format = Output.table, state: State = None) -> None:
    """Shows what `apply` would change, and what each change costs."""
    from headrace.control.query_changes import query_changes
    from headrace.control.resource_store import ResourceStore
    from headrace.kinds.plan import plan as plan_changes
    from headrace.kinds.topology import topology

    chosen = settings(state)
    log = open_state(state) if chosen.state.exists() else None
    applied = ResourceStore(log).all() if log else []
    resources = load_or_exit(files, applied)
    together = topology(merged(applied, resources), chosen)
    queries = query_changes(together, log, chosen.streams) if log else {}
    rows = [
        {
            "action": c.action, "kind": c.id.kind, "namespace": c.id.namespace, "name": c.id.name,
            "what": "; ".join(one for one in (c.sentence, queries.get(c.id)) if one),
        }
        for c in plan_changes(applied, resources)
    ]  # fmt: skip
    print_data(rows, output, ("action", "kind", "namespace", "name", "what"))
    declared = {resource.id for resource in resources}
    for one in together.not_ready:
        if one.id in declared:
            say(f"{one.id}: Ready=False ({one.reason}): {one.message}")


def merged(applied: "Sequence[Resource]", declared: "Sequence[Resource]") -> "list[Resource]":
    """What would be applied with `declared`: the new in place of the old."""
    return list({resource.id: resource for resource in (*applied, *declared)}.values())


def apply(files: Files, state: State = None) -> None:
    """Takes the resources into the state directory; `headrace up` runs them."""
    from headrace.control.resource_store import ResourceStore
    from headrace.foundation.clock import SYSTEM_CLOCK
    from headrace.kinds.plan import plan as plan_changes

    store = ResourceStore(open_state(state, create=True))
    applied = store.all()
    resources = load_or_exit(files, applied)
    changes = plan_changes(applied, resources)
    store.apply(resources, SYSTEM_CLOCK.now_ms())
    for change in changes:
        typer.echo(f"{change.id.kind}/{change.id.name} {_PAST.get(change.action, change.action)}")


_PAST = {"create": "created", "update": "configured", "unchanged": "unchanged", "delete": "deleted"}
