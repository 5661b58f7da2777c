"""get, describe, delete: what is applied, as in kubectl."""

from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar

import typer

from headrace.doors.cli.common import AllNamespaces, Format, Namespace, Output, State, open_state, print_data, settings
from headrace.foundation.resource_id import DEFAULT_NAMESPACE, ResourceId


class _Identified(Protocol):
    @property
    def id(self) -> ResourceId: ...


Found = TypeVar("Found", bound=_Identified)
KindName = Annotated[str, typer.Argument(help="A kind, such as streamfinetuner.")]


def register(app: typer.Typer) -> None:
    app.command("get", epilog="Examples: headrace get all -A; headrace get streamfinetuner desk -n red -o yaml")(get)
    app.command("describe", epilog="Example: headrace describe streamfinetuner support-desk")(describe)
    app.command(
        "delete",
        epilog="Example: headrace delete streamconnector questions; headrace delete streamfinetuner desk --purge --dry-run",
    )(delete)


def get(
    kind: Annotated[str, typer.Argument(help="A kind, such as streamfinetuner, or all.")],
    name: Annotated[str | None, typer.Argument(help="One resource.")] = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    everywhere: AllNamespaces = False,
    output: Format = Output.table,
    state: State = None,
) -> None:
    """Lists applied resources with their readiness."""
    from headrace.control.report import resource_views

    views = resource_views(open_state(state), settings(state))
    rows = matching(views, kind, name, None if everywhere else namespace)
    if output is Output.table:
        shown = [
            {"kind": v.id.kind, "namespace": v.id.namespace, "name": v.id.name, "ready": v.ready, "reason": v.reason}
            for v in rows
        ]
        print_data(shown, output, ("kind", "namespace", "name", "ready", "reason"))
    else:
        documents = [v.document for v in rows]
        print_data(documents[0] if name and len(documents) == 1 else documents, output)


def describe(
    kind: KindName,
    name: Annotated[str, typer.Argument(help="One resource.")],
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: Format = Output.yaml,
    state: State = None,
) -> None:
    """Shows one resource: its declaration, conditions and progress."""
    from headrace.control.report import resource_views

    views = resource_views(open_state(state), settings(state))
    print_data(matching(views, kind, name, namespace)[0].document, output)


def delete(
    kind: KindName,
    name: Annotated[str, typer.Argument(help="One resource.")],
    namespace: Namespace = DEFAULT_NAMESPACE,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Also deletes its topics, versions, checkpoints, stores, teacher's answers and spending records.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only shows what --purge would delete.")] = False,
    state: State = None,
) -> None:
    """Deletes a resource. Its topics, versions and progress stay, so it resumes if you apply it again."""
    from headrace.control.resource_store import ResourceStore
    from headrace.doors.cli.reset import purge_resource, stop_and_delete

    log = open_state(state)
    store = ResourceStore(log)
    resource = matching(store.all(), kind, name, namespace)[0]
    if purge or dry_run:
        purge_resource(resource.id, log, settings(state), dry_run=dry_run)
        return
    if stop_and_delete(resource.id, log, settings(state)):
        return
    store.delete(resource.id)
    typer.echo(f"{resource.kind}/{name} deleted; its topics and versions stay (--purge deletes them too)")


def matching(found: Sequence[Found], kind: str, name: str | None, namespace: str | None) -> list[Found]:
    """Resources of a kind (`all`: every kind), name and namespace; None: any. NotFoundError lists what exists."""
    from headrace.foundation.errors import NotFoundError

    wanted = None if kind.lower() == "all" else kind_named(kind)
    rows = [one for one in found if wanted is None or one.id.kind == wanted]
    here = [one for one in rows if namespace is None or one.id.namespace == namespace]
    if name is None:
        return here
    named = [one for one in here if one.id.name == name]
    if not named:
        elsewhere = sorted({one.id.namespace for one in rows if one.id.name == name})
        names = ", ".join(sorted(one.id.name for one in here)) or "none"
        hint = f"It is in namespace {', '.join(elsewhere)}; pass -n." if elsewhere else f"Applied there: {names}."
        where = f" in namespace {namespace}" if namespace else ""
        raise NotFoundError(f"{wanted or kind}/{name} is not applied{where}", next_step=hint)
    return named


def kind_named(given: str) -> str:
    """A kind by its name, singular or plural, in any case. NotFoundError names the nearest."""
    from difflib import get_close_matches

    from headrace.foundation.errors import NotFoundError
    from headrace.kinds.registry import KINDS

    names = {name.lower(): name for name in KINDS} | {kind.plural: kind.name for kind in KINDS.values()}
    if given.lower() in names:
        return names[given.lower()]
    near = get_close_matches(given.lower(), names, 1)
    nearest = f" Nearest: {names[near[0]]}." if near else ""
    raise NotFoundError(f"there is no kind {given!r}", next_step=f"Use one of: {', '.join(KINDS)}.{nearest}")
