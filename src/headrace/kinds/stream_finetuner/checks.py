"""What a StreamFinetuner's fields must be together, and with what it names."""

import re
from collections.abc import Iterator

from headrace.kinds.base_model.checks import requests_within_limits
from headrace.kinds.document import Location
from headrace.kinds.kind import Draft, World
from headrace.kinds.problem import Problem

KNOWLEDGE = "knowledge"
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TEMPLATE = ("finetunerTemplate", "preProcessing")


def check(draft: Draft, world: World) -> Iterator[Problem]:
    """One source, one kind of ground truth, one place of preProcessing, no circle, prompts that can be filled in."""
    if world.find(draft.id.sibling("BaseModel", draft.name)):
        yield Problem(
            (), "a BaseModel has the same name, and both are served under it", hint="Rename one.", of_key=True
        )
    yield from _one_source(draft, world)
    yield from _one_truth(draft)
    yield from _one_processing(draft)
    yield from _circle(draft, world)
    yield from _knowledge(draft)
    resources = ("finetunerTemplate", "finetunerResources")
    yield from requests_within_limits(draft, (*resources, "requests"), (*resources, "limits"))


def prompt_fields(draft: Draft) -> Iterator[tuple[Location, str]]:
    """Every `{name}` of every prompt, with the place of its text."""
    for index in range(len(draft.items("promptTemplate"))):
        for key in ("systemContext", "userQuestion"):
            text = draft.text("promptTemplate", index, key)
            for name in dict.fromkeys(_FIELD.findall(text or "")):
                yield ("promptTemplate", index, key), name


def query_location(draft: Draft) -> Location | None:
    """Where the query stands; None where it is left out."""
    for path in (("preProcessing",), _TEMPLATE):
        if draft.text(*path, "preProcessingSQL") is not None:
            return (*path, "preProcessingSQL")
    return None


def _one_source(draft: Draft, world: World) -> Iterator[Problem]:
    block = draft.given("finetunerInfo", "dataSource")
    connector = draft.text("finetunerInfo", "dataSource", "sourceStreamConnector")
    finetuner = draft.text("finetunerInfo", "dataSource", "sourceStreamFinetuner")
    if connector and finetuner:
        yield Problem(
            ("finetunerInfo", "dataSource", "sourceStreamFinetuner"),
            "sourceStreamConnector and sourceStreamFinetuner are mutually exclusive",
            hint="Keep one; a finetuner's examples already have answers.",
            of_key=True,
        )
    if isinstance(block, dict) and not connector and not finetuner:
        valid = ("sourceStreamConnector", "sourceStreamFinetuner")
        yield Problem(("finetunerInfo", "dataSource"), "names no source", valid, of_key=True)
    source = world.find(draft.id.sibling("StreamConnector", connector)) if connector else None
    if source and source.text("direction") == "sink":
        yield Problem(("finetunerInfo", "dataSource", "sourceStreamConnector"), f"{connector} is a sink, not a source")
    if source and source.given("table") is not None:
        yield Problem(
            ("finetunerInfo", "dataSource", "sourceStreamConnector"),
            f"{connector} is a table, not a stream",
            hint="Join it in the query, or remove its `table`.",
        )


def _one_truth(draft: Draft) -> Iterator[Problem]:
    teacher, truth = draft.given("finetunerInfo", "megaModel"), draft.given("groundTruth")
    chained = draft.given("finetunerInfo", "dataSource", "sourceStreamFinetuner")
    if chained:
        for location, given in ((("finetunerInfo", "megaModel"), teacher), (("groundTruth",), truth)):
            if given is not None:
                yield Problem(
                    location,
                    "examples of another finetuner already have answers and are not labelled again",
                    hint="Remove it.",
                    of_key=True,
                )
    elif teacher is None and truth is None and isinstance(draft.given("finetunerInfo"), dict):
        yield Problem(
            ("finetunerInfo",),
            "neither megaModel nor groundTruth is set, so there are no answers to learn",
            ("finetunerInfo.megaModel", "groundTruth.column"),
            of_key=True,
        )
    elif teacher is not None and truth is not None:
        yield Problem(
            ("groundTruth",),
            "megaModel and groundTruth are mutually exclusive",
            hint="Keep one of the two.",
            of_key=True,
        )


def _one_processing(draft: Draft) -> Iterator[Problem]:
    if draft.given("preProcessing") is not None and draft.given(*_TEMPLATE) is not None:
        yield Problem(
            ("preProcessing",), "is declared here and under finetunerTemplate", hint="Keep one of the two.", of_key=True
        )


def _circle(draft: Draft, world: World) -> Iterator[Problem]:
    path, current = [draft.name], draft
    while name := current.text("finetunerInfo", "dataSource", "sourceStreamFinetuner"):
        following = world.find(draft.id.sibling("StreamFinetuner", name))
        path.append(name)
        if name == draft.name:
            yield Problem(
                ("finetunerInfo", "dataSource", "sourceStreamFinetuner"),
                f"finetuners read each other in a cycle: {' → '.join(path)}",
                hint="Make one of them read a StreamConnector.",
            )
            return
        if following is None or name in path[:-1]:
            return
        current = following


def _knowledge(draft: Draft) -> Iterator[Problem]:
    if draft.given("finetunerInfo", "knowledgeBase") is not None:
        return
    for location, name in prompt_fields(draft):
        if name == KNOWLEDGE:
            yield Problem(
                location, "the prompt uses {knowledge}, but no knowledgeBase is set",
                hint="Set finetunerInfo.knowledgeBase, or remove {knowledge}.",
            )  # fmt: skip
