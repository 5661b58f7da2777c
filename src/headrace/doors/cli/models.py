"""models list|new|export, promote, rollback, ask: the served versions."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.doors.cli.common import (
    AllNamespaces,
    Format,
    Namespace,
    Output,
    State,
    open_state,
    print_data,
    say,
    settings,
)
from headrace.foundation.resource_id import DEFAULT_NAMESPACE, ResourceId

_WIDTH = 100


class Size(str, Enum):
    """Sizes of new models."""

    tiny = "tiny"
    m1 = "1m"
    m10 = "10m"
    m100 = "100m"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Lists, creates and exports models.", no_args_is_help=True)
    group.command("list")(list_models)
    group.command("new", epilog="Example: headrace models new models/tiny --size tiny --text questions.jsonl")(new)
    group.command("export", epilog="Example: headrace models export support-desk --to exported/")(export)
    app.add_typer(group, name="models")
    app.command("promote", epilog="Example: headrace promote support-desk v3 --reason 'reviewed'")(promote)
    app.command("rollback", epilog="Example: headrace rollback support-desk --reason 'wrong tone'")(rollback)
    app.command("ask", epilog="Example: headrace ask support-desk 'Where is my card?'")(ask)


def list_models(
    namespace: Namespace = DEFAULT_NAMESPACE,
    everywhere: AllNamespaces = False,
    output: Format = Output.table,
    state: State = None,
) -> None:
    """Shows the finetuners' versions and which one is served. CUTOFFSET: the last example the version learned."""
    from headrace.control.versions import list_versions

    rows = list_versions(open_state(state), None if everywhere else namespace)
    columns = ("model", "version", "alias", "cutOffset", "knowledge", "created", "weightsSha256")
    print_data(rows, output, ("namespace", *columns))


def new(
    path: Annotated[Path, typer.Argument(help="Folder to create.")],
    text: Annotated[
        list[Path],
        typer.Option(
            "--text", help="Text, JSON Lines or CSV (also gzipped) that supplies the vocabulary. May be repeated."
        ),
    ],
    size: Annotated[Size, typer.Option("--size", help="Approximate number of parameters.")] = Size.tiny,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the initial weights.")] = 0,
) -> None:
    """Creates a small untrained Llama model whose vocabulary comes from a text."""
    from headrace.models.corpus import read_texts
    from headrace.models.tiny import new_checkpoint

    new_checkpoint(path, size=size.value, text=read_texts(text), seed=seed)
    say(f"{path} is a model folder in Hugging Face's layout. Declare it as a BaseModel with path: {path}")


def export(
    model: Annotated[str, typer.Argument(help="A finetuner's name, or NAME@vN.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to create; must not exist.")],
    namespace: Namespace = DEFAULT_NAMESPACE,
    state: State = None,
) -> None:
    """Writes a version as merged safetensors that `from_pretrained` loads."""
    from headrace.control.versions import export_version

    name, _, wanted = model.partition("@")
    finetuner = ResourceId("StreamFinetuner", namespace, name)
    version = export_version(open_state(state), settings(state).state, finetuner, wanted, to)
    say(f"{model}: {version} is in {to}")


def promote(
    model: Annotated[str, typer.Argument(help="A finetuner's name.")],
    version: Annotated[str, typer.Argument(help="The version to serve, such as v3.")],
    reason: Annotated[str, typer.Option("--reason", help="Recorded with the decision.")] = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    state: State = None,
) -> None:
    """Serves a version; the trainer records it as a decision."""
    from headrace.stages.train.alias_commands import promote_now

    changed = promote_now(open_state(state), ResourceId("StreamFinetuner", namespace, model), version, reason)
    typer.echo(f"{model} serves {changed.served}")


def rollback(
    model: Annotated[str, typer.Argument(help="A finetuner's name.")],
    reason: Annotated[str, typer.Option("--reason", help="Recorded with the decision.")] = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    state: State = None,
) -> None:
    """Goes back to the previous version; the learner restarts from it."""
    from headrace.stages.train.alias_commands import rollback_now

    changed = rollback_now(open_state(state), ResourceId("StreamFinetuner", namespace, model), reason)
    typer.echo(f"{model} serves {changed.served}")


def ask(
    model: Annotated[str, typer.Argument(help="A model: NAME, NAMESPACE/NAME, or either with @vN.")],
    question: Annotated[str, typer.Argument(help="The question.")],
    namespace: Annotated[
        str | None,
        typer.Option(
            "-n", "--namespace", help="Namespace of the model. Default: the only one that has it.", show_default=False
        ),
    ] = None,
    output: Format = Output.table,
    state: State = None,
    host: Annotated[str | None, typer.Option("--host", show_default=False, help="Default: 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option("--port", show_default=False, help="Default: 5000")] = None,
) -> None:
    """Asks a model through the running gateway."""
    asked = f"{namespace}/{model}" if namespace and "/" not in model else model
    answer = _ask(settings(state, host=host, port=port), asked, question)
    if output is Output.table:
        typer.echo(answer["answer"])
        for cited in answer["citations"]:
            say(f"  from {cited['document']}#{cited['chunk']} ({cited['version']}): {_short(cited['text'])}")
        if answer["degraded"]:
            say(f"  {answer['degraded']}")
        knowledge = f" · knowledge {answer['knowledgeVersion']}" if answer["citations"] else ""
        say(f"{answer['model']} {answer['version']}{knowledge} · answer {answer['answerId']}")
    else:
        print_data(answer, output)


def _ask(chosen: Any, model: str, question: str) -> dict[str, Any]:
    import httpx

    from headrace.foundation.errors import HeadraceError, UnavailableError

    address = f"http://{chosen.host}:{chosen.port}"
    headers = {"authorization": f"Bearer {chosen.api_key}"} if chosen.api_key else {}
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    try:
        response = httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=120)
    except httpx.TransportError as error:
        raise UnavailableError(
            f"no answer from {address}: {error}",
            next_step="Start the gateway with `headrace up`, or pass --host and --port.",
        ) from error
    if response.status_code != 200:
        raise HeadraceError(f"{address} answered {response.status_code}: {response.text}")
    body = response.json()
    knowledge = body.get("knowledge") or {}
    return {
        "model": model,
        "answer": body["choices"][0]["message"]["content"],
        "version": response.headers.get("x-headrace-model-version", ""),
        "knowledgeVersion": response.headers.get("x-headrace-knowledge-version", ""),
        "answerId": response.headers.get("x-headrace-answer-id", ""),
        "citations": knowledge.get("citations", []),
        "degraded": knowledge.get("degraded", ""),
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
