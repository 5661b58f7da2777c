"""validate, plan, apply, get, describe, delete: resources as in kubectl."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.doors.cli.common import Files, Format, Namespace, Output, State, open_state, print_data, say, settings

if TYPE_CHECKING:
    from headrace.foundation.settings import Settings
    from headrace.kinds.plan import Change
    from headrace.log.topic_log import TopicLog


def register(app: typer.Typer) -> None:
    app.command("validate", epilog="Example: headrace validate -f examples/support")(validate)
    app.command("plan", epilog="Example: headrace plan -f headrace.yaml")(plan)
    app.command("apply", epilog="Example: headrace apply -f headrace.yaml && headrace up")(apply)
    app.command("get", epilog="Example: headrace get streamfinetuner -o yaml")(get)
    app.command("describe", epilog="Example: headrace describe streamfinetuner support-desk")(describe)
    app.command("delete", epilog="Example: headrace delete streamconnector questions")(delete)


def load_or_exit(files: list[str], existing: "Sequence[Any]" = ()) -> "list[Any]":
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
    everything = {resource.key: resource for resource in (*applied, *resources)}
    queries = query_changes(topology(tuple(everything.values()), chosen), log, chosen.streams) if log else {}
    rows = [
        {"action": c.action, "kind": c.kind, "namespace": c.namespace, "name": c.name, "what": _what(c, queries)}
        for c in plan_changes(applied, resources)
    ]
    print_data(rows, output, ("action", "kind", "namespace", "name", "what"))
    for one in topology(resources, chosen).not_ready:
        say(f"{one.kind}/{one.name}: Ready=False ({one.reason}): {one.message}")


def _what(change: "Change", queries: "Mapping[tuple[str, str], str]") -> str:
    """The sentence of a change, with what becomes of a finetuner's query."""
    query = queries.get((change.namespace, change.name)) if change.kind == "StreamFinetuner" else None
    return f"{change.sentence}; {query}" if query else change.sentence


def apply(files: Files, state: State = None) -> None:
    """Takes the resources into the state directory; `headrace up` runs them."""
    from headrace.control.resource_store import ResourceStore
    from headrace.foundation.clock import SYSTEM_CLOCK
    from headrace.kinds.plan import plan as plan_changes

    store = ResourceStore(open_state(state, create=True))
    resources = load_or_exit(files, store.all())
    changes = plan_changes([r for r in store.all() if any(_same(r, new) for new in resources)], resources)
    store.apply(resources, SYSTEM_CLOCK.now_ms())
    for change in changes:
        typer.echo(f"{change.kind}/{change.name} {_PAST.get(change.action, change.action)}")


_PAST = {"create": "created", "update": "configured", "unchanged": "unchanged", "delete": "deleted"}


def _same(one: Any, other: Any) -> bool:
    return (one.kind, one.namespace, one.name) == (other.kind, other.namespace, other.name)


def _matching(resources: "list[Any]", kind: str, name: str | None) -> "list[Any]":
    from difflib import get_close_matches

    from headrace.foundation.errors import NotFoundError
    from headrace.kinds.registry import KINDS

    wanted = kind.lower().removesuffix("s")
    kinds = {known.lower(): known for known in KINDS}
    if kind.lower() != "all" and wanted not in kinds:
        near = get_close_matches(wanted, kinds, 1)
        raise NotFoundError(
            f"there is no kind {kind!r}",
            next_step=f"use one of: {', '.join(KINDS)}" + (f"; nearest: {kinds[near[0]]}" if near else ""),
        )
    found = [r for r in resources if kind.lower() == "all" or r.kind == kinds[wanted]]
    if name is None:
        return found
    named = [r for r in found if r.name == name]
    if not named:
        names = ", ".join(sorted(r.name for r in found)) or "none"
        raise NotFoundError(f"{kind}/{name} is not applied", next_step=f"applied are: {names}")
    return named


def get(
    kind: Annotated[str, typer.Argument(help="A kind, such as streamfinetuner, or all.")],
    name: Annotated[str | None, typer.Argument(help="One resource.")] = None,
    output: Format = Output.table,
    state: State = None,
) -> None:
    """Lists applied resources with their readiness."""
    from headrace.control.report import resource_views

    log = open_state(state)
    views = resource_views(log, settings(state))
    rows = _matching(views, kind, name)
    if output is Output.table:
        print_data(
            [{"kind": v.kind, "namespace": v.namespace, "name": v.name, "ready": v.ready, "reason": v.reason} for v in rows],
            output, ("kind", "namespace", "name", "ready", "reason"),
        )  # fmt: skip
    else:
        documents = [v.document for v in rows]
        print_data(documents[0] if name and len(documents) == 1 else documents, output)


def describe(
    kind: Annotated[str, typer.Argument(help="A kind.")],
    name: Annotated[str, typer.Argument(help="One resource.")],
    output: Format = Output.yaml,
    state: State = None,
) -> None:
    """Shows one resource: what was declared, its conditions, what its stages say."""
    from headrace.control.report import resource_views

    print_data(_matching(resource_views(open_state(state), settings(state)), kind, name)[0].document, output)


def delete(
    kind: Annotated[str, typer.Argument(help="A kind.")],
    name: Annotated[str, typer.Argument(help="One resource.")],
    namespace: Namespace = "default",
    forget: Annotated[
        bool, typer.Option("--forget", help="Its place in its topics too, so that retention no longer waits for it.")
    ] = False,
    state: State = None,
) -> None:
    """Takes a resource out; its topics, versions and progress stay, so that applying it again goes on where it was."""
    from headrace.control.resource_store import ResourceStore

    log = open_state(state)
    store = ResourceStore(log)
    resource = _matching(store.all(), kind, name)[0]
    store.delete(resource.kind, namespace, name)
    if resource.kind == "StreamFinetuner":
        _end_job(log, settings(state), namespace, name)
    if forget:
        for stage in ("transform", "prompt", "label", "train", "mirror", "sink", "ingest"):
            log.forget_group(f"{stage}/{namespace}.{name}")
    typer.echo(f"{resource.kind}/{name} deleted")


def _end_job(log: "TopicLog", chosen: "Settings", namespace: str, name: str) -> None:
    """Ends the job of a finetuner's query, where one runs on an engine's own cluster."""
    from headrace.events import topics
    from headrace.streams.registry import open_job_engine

    engine = open_job_engine(chosen.streams, chosen.stream_options)
    topic = topics.job(namespace, name)
    if engine is None or topic not in {info.spec.name for info in log.topics()}:
        return
    table = log.external_table(topic)
    found = engine.find(table.topic) if table else None
    if found is not None:
        engine.cancel(found.job_id)
