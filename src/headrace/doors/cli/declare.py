"""validate, plan, apply: what files declare, and what applying them changes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from headrace.doors.cli.common import Files, Format, Output, Reset, State, open_state, print_data, say, settings

if TYPE_CHECKING:
    from headrace.control.declared_changes import Declared
    from headrace.foundation.resource_id import ResourceId
    from headrace.foundation.settings import Settings
    from headrace.kinds.plan import Change
    from headrace.kinds.resource import Resource
    from headrace.log.topic_log import TopicLog
    from headrace.stages.topology import Topology


def register(app: typer.Typer) -> None:
    app.command("validate", epilog="Example: headrace validate -f examples/support")(validate)
    app.command("plan", epilog="Example: headrace plan -f headrace.yaml")(plan)
    app.command("apply", epilog="Example: headrace apply -f headrace.yaml && headrace up")(apply)


def load_or_exit(files: list[str], existing: "Sequence[Resource]" = ()) -> "list[Resource]":
    """The resources in the files, which may refer to `existing` ones. On a mistake, prints all of them to stderr and exits with 2."""
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
    """Checks files and prints every mistake with its file and line."""
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
    """Shows what `apply` would change, when each change acts, and what needs a reset."""
    from headrace.control.declared_changes import declared_changes
    from headrace.control.query_changes import query_changes
    from headrace.control.resource_store import ResourceStore
    from headrace.kinds.topology import topology

    chosen = settings(state)
    log = open_state(state) if chosen.state.exists() else None
    applied = ResourceStore(log).all() if log else []
    resources = load_or_exit(files, applied)
    found = declared_changes(applied, resources, log, chosen)
    together = topology(merged(applied, resources), chosen)
    queries = query_changes(together, log, chosen.streams) if log else {}
    print_changes(found, queries, output)
    declared = {resource.id for resource in resources}
    for one in together.not_ready:
        if one.id in declared:
            say(f"{one.id}: Ready=False ({one.reason}): {one.message}")
    if log:
        say_missed(log, together, resources)


def say_missed(log: "TopicLog", plan: "Topology", resources: "Sequence[Resource]") -> None:
    """Records that stages of these resources would never see, because retention dropped them before they started."""
    from headrace.control.readers import missed

    declared = {one.id for one in resources}
    for one in missed(log, [spec for spec in plan.specs if spec.id in declared]):
        say(f"warning: {one.spec.id}: {one}")


def print_changes(found: "Declared", queries: "Mapping[ResourceId, str]", output: Output) -> None:
    """One row per resource. In the table form, changed fields and due resets follow below."""
    rows = [
        {
            "action": c.action, "kind": c.id.kind, "namespace": c.id.namespace, "name": c.id.name,
            "what": "; ".join(one for one in (c.sentence, queries.get(c.id)) if one),
            "fields": [
                {"path": one.path, "old": one.old, "new": one.new, "verdict": one.verdict.text} for one in c.fields
            ],
            "resets": [one.command for one in c.resets],
        }
        for c in found.changes
    ]  # fmt: skip
    print_data(rows, output, ("action", "kind", "namespace", "name", "what"))
    if output is not Output.table:
        return
    for change in found.changes:
        for field in change.fields:
            typer.echo(f"  {change.id.kind}/{change.id.name} {field}")
    if found.resets:
        typer.echo("These changes need a reset. `headrace apply --reset` applies them and performs it:")
        for reset in found.resets:
            typer.echo(f"  {reset.command}")


def merged(applied: "Sequence[Resource]", declared: "Sequence[Resource]") -> "list[Resource]":
    """The applied resources after `declared` replaces its predecessors."""
    return list({resource.id: resource for resource in (*applied, *declared)}.values())


def apply(files: Files, reset: Reset = False, state: State = None) -> None:
    """Stores the resources in the state directory; `headrace up` runs them. Exit code 2: a change waits for --reset."""
    for change in apply_files(files, open_state(state, create=True), settings(state), reset=reset):
        typer.echo(f"{change.id.kind}/{change.id.name} {_PAST.get(change.action, change.action)}")


def apply_files(files: list[str], log: "TopicLog", chosen: "Settings", *, reset: bool) -> "Sequence[Change]":
    """Applies the files. Without `reset`, a resource that needs one is left unchanged, and ResetNeededError follows."""
    from headrace.control.asking import performed_here
    from headrace.control.declared_changes import apply_declared, declared_changes, reset_needed
    from headrace.control.resource_store import ResourceStore
    from headrace.foundation.clock import SYSTEM_CLOCK
    from headrace.kinds.topology import topology

    store = ResourceStore(log)
    applied = store.all()
    resources = load_or_exit(files, applied)
    found = declared_changes(applied, resources, log, chosen)
    apply_declared(found, resources, store, SYSTEM_CLOCK, reset=reset)
    say_missed(log, topology(store.all(), chosen), resources)
    if found.waiting and not reset:
        raise reset_needed(found)
    if found.resets and not performed_here(log, chosen, lambda: topology(store.all(), chosen)):
        say("the running headrace will perform the reset")
    return found.changes


_PAST = {"create": "created", "update": "configured", "unchanged": "unchanged", "delete": "deleted"}
