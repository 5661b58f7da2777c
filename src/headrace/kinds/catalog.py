"""Reads declarations: files → resources, and every mistake of every file in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec
from pydantic import ValidationError

from headrace.foundation.errors import CorruptDataError
from headrace.kinds.document import Document, Place, path_text
from headrace.kinds.envelope import Envelope, read_envelope
from headrace.kinds.kind import Draft, Kind, Problem, World
from headrace.kinds.loader import load_documents
from headrace.kinds.mistake import Mistake
from headrace.kinds.placeholders import left_in
from headrace.kinds.references import dangling
from headrace.kinds.registry import KINDS
from headrace.kinds.resource import Resource
from headrace.kinds.secret_fields import secrets_in
from headrace.kinds.spec_errors import problems_of
from headrace.kinds.spec_model import SpecModel
from headrace.kinds.yaml_tree import parse

__all__ = ["Loaded", "Resource", "load", "read_documents", "read_text", "resource_from_json", "resource_to_json"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What files declare."""

    resources: list[Resource]
    """Those without a mistake, in the order of the files."""
    mistakes: list[Mistake]
    """By place."""
    warnings: list[Mistake]
    """What is allowed and probably not meant."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """One document half read."""

    document: Document
    envelope: Envelope
    draft: Draft | None


def load(
    paths: Sequence[str | Path], *, existing: Sequence[Resource] = (), streams: str = "duckdb", look: bool = True
) -> Loaded:
    """Reads files, folders, globs and `-`. `existing`: applied before, which the files may name and replace.

    `streams`: the engine whose planner checks the queries; `look`: schemas that are left out may be inferred from a
    source's first records.
    """
    documents, mistakes = load_documents(paths)
    loaded = read_documents(documents, existing=existing, streams=streams, look=look)
    return Loaded(loaded.resources, sorted([*mistakes, *loaded.mistakes]), loaded.warnings)


def read_text(
    text: str, file: str, base_dir: str = ".", *, existing: Sequence[Resource] = (), streams: str = "duckdb"
) -> Loaded:
    """The same of one text, whose relative paths start at `base_dir`."""
    documents, mistakes = parse(text, file, base_dir)
    loaded = read_documents(documents, existing=existing, streams=streams)
    return Loaded(loaded.resources, sorted([*mistakes, *loaded.mistakes]), loaded.warnings)


def read_documents(
    documents: Sequence[Document], *, existing: Sequence[Resource] = (), streams: str = "duckdb", look: bool = True
) -> Loaded:
    """The same of documents that are parsed already, such as those that a REST client sent."""
    readings = [_reading(document) for document in documents]
    world = _world(readings, existing)
    mistakes, warnings = _duplicates(readings), list[Mistake]()
    resources: list[Resource] = []
    for reading in readings:
        spec, problems = _read(reading, world)
        found = [_mistake(reading, problem) for problem in problems]
        wrong = [mistake for mistake, problem in zip(found, problems, strict=True) if not problem.warning]
        mistakes += wrong
        warnings += [mistake for mistake, problem in zip(found, problems, strict=True) if problem.warning]
        if spec is not None and not wrong:
            resources.append(_resource(reading, spec))
    if not mistakes:
        from headrace.kinds.queries import check_queries

        for resource, problem in check_queries(_replaced(existing, resources), resources, streams=streams, look=look):
            reading = next(one for one in readings if one.draft and (one.draft.kind, *_id(one.draft)) == resource.key)
            (warnings if problem.warning else mistakes).append(_mistake(reading, problem))
    return Loaded(resources, sorted(set(mistakes)), sorted(set(warnings)))


def _id(draft: Draft) -> tuple[str, str]:
    return draft.namespace, draft.name


def _replaced(existing: Sequence[Resource], new: Sequence[Resource]) -> list[Resource]:
    by_key = {resource.key: resource for resource in [*existing, *new]}
    return list(by_key.values())


def _reading(document: Document) -> _Reading:
    envelope = read_envelope(document)
    return _Reading(document, envelope, envelope.draft())


def _world(readings: Sequence[_Reading], existing: Sequence[Resource]) -> World:
    drafts = {one.key: Draft(one.kind, one.namespace, one.name, cast("Any", one.raw)) for one in existing}
    drafts |= {(one.draft.kind, *_id(one.draft)): one.draft for one in readings if one.draft}
    return World(drafts)


def _read(reading: _Reading, world: World) -> tuple[SpecModel | None, list[Problem]]:
    """The spec where it is right, and every problem, with locations from the document's root."""
    problems = list(reading.envelope.problems)
    kind, draft = reading.envelope.kind, reading.draft
    if kind is None or reading.envelope.spec is None:
        return None, problems
    # The rest of a document is worth checking even where its name is wrong.
    draft = draft or Draft(kind.name, reading.envelope.namespace, "?", reading.envelope.spec)
    spec, found = read_spec(kind, draft, world)
    problems += [_below_spec(problem) for problem in found]
    return spec, problems


def read_spec(kind: Kind, draft: Draft, world: World) -> tuple[SpecModel | None, list[Problem]]:
    """Everything that is wrong with a spec: its fields, placeholders, what it names, what its fields are together."""
    model = kind.model(draft)
    problems = [
        Problem(location, f"the placeholder {word} was left in", hint="Write the value.")
        for location, word in left_in(draft.spec, kind.free_text)
    ]
    covered = {problem.location for problem in problems}
    spec: SpecModel | None = None
    try:
        spec = model.model_validate(draft.spec)
    except ValidationError as error:
        problems += [problem for problem in problems_of(error, model) if problem.location not in covered]
    if not isinstance(draft.spec, dict):
        return None, problems
    checks = [*dangling(draft, model, world), *kind.check(draft, world)]
    covered = {problem.location for problem in problems if not problem.of_key}
    problems += [problem for problem in checks if problem.of_key or problem.location not in covered]
    if spec is not None:
        problems += _literal_placeholders(spec)
    return spec, problems


def _literal_placeholders(spec: SpecModel) -> Iterator[Problem]:
    """A literal secret in capitals is allowed, because some are, and told."""
    if any(secret.looks_like_sample() for secret in secrets_in(spec)):
        yield Problem((), "a secret looks like the sample's own word", hint="Write ${ENV} in its place.", warning=True)


def _below_spec(problem: Problem) -> Problem:
    return replace(problem, location=("spec", *problem.location))


def _mistake(reading: _Reading, problem: Problem) -> Mistake:
    document, title = reading.document, reading.envelope.title
    place = document.place(problem.location, of_key=problem.of_key)
    if problem.text_line is not None:
        place = _line_of_text(document, problem, place)
    path = path_text(problem.location)
    return Mistake(
        document.file,
        place.line,
        place.column,
        f"{title}: {path}" if path else title,
        problem.message,
        problem.valid,
        problem.near,
        problem.hint,
    )


def _line_of_text(document: Document, problem: Problem, start: Place) -> Place:
    """A `|` text starts in the line below its sign."""
    node = document.node(problem.location)
    below = (problem.text_line or 1) - 1 + (1 if node and node.block else 0)
    return Place(start.line + below, start.column if below == 0 else 1)


def _duplicates(readings: Sequence[_Reading]) -> list[Mistake]:
    seen: dict[tuple[str, str, str], _Reading] = {}
    mistakes: list[Mistake] = []
    for reading in readings:
        if reading.draft is None:
            continue
        key = (reading.draft.kind, *_id(reading.draft))
        if first := seen.get(key):
            place = first.document.place(("metadata", "name"))
            message = (
                f"declared twice in namespace {reading.draft.namespace}; first at {first.document.file}:{place.line}"
            )
            mistakes.append(_mistake(reading, Problem(("metadata", "name"), message, hint="Keep one, or rename one.")))
        seen.setdefault(key, reading)
    return mistakes


def _resource(reading: _Reading, spec: SpecModel) -> Resource:
    envelope, document = reading.envelope, reading.document
    assert envelope.kind is not None and envelope.name is not None and isinstance(envelope.spec, dict)  # noqa: PT018 - one fact
    return Resource(
        envelope.api_version,
        envelope.kind.name,
        envelope.namespace,
        envelope.name,
        envelope.labels,
        envelope.annotations,
        spec,
        envelope.spec,
        document.file,
        document.root.place.line,
        str(Path(document.base_dir).resolve()),
    )


class _Stored(msgspec.Struct, frozen=True):
    """A resource in the state store; literal secrets are in it as they were written."""

    api_version: str
    kind: str
    namespace: str
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: dict[str, Any]
    base_dir: str


def resource_to_json(resource: Resource) -> bytes:
    """For the state store, which nobody else may read: secrets stand in it as they were given.

    Equal resources give equal bytes: the place in a file is no part of it.
    """
    stored = _Stored(
        resource.api_version, resource.kind, resource.namespace, resource.name,
        dict(resource.labels), dict(resource.annotations), dict(resource.raw), resource.base_dir,
    )  # fmt: skip
    return msgspec.json.encode(stored, order="deterministic")


def resource_from_json(data: bytes | msgspec.Raw) -> Resource:
    """The inverse. CorruptDataError where the bytes are no resource that this version reads."""
    try:
        stored = msgspec.json.decode(data, type=_Stored)
        kind = KINDS[stored.kind]
        draft = Draft(stored.kind, stored.namespace, stored.name, stored.spec)
        spec = kind.model(draft).model_validate(stored.spec)
    except (msgspec.MsgspecError, KeyError) as error:
        raise CorruptDataError(f"a stored resource does not parse: {error}") from error
    except ValidationError as error:
        problem = next(iter(problems_of(error, SpecModel)))
        raise CorruptDataError(
            f"a stored resource is not valid: {path_text(problem.location)}: {problem.message}"
        ) from None
    return Resource(
        stored.api_version, stored.kind, stored.namespace, stored.name,
        cast("Mapping[str, str]", stored.labels), stored.annotations, spec, stored.spec, base_dir=stored.base_dir,
    )  # fmt: skip
