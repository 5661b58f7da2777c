"""Reads declarations: files → resources, and every mistake of every file in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from headrace.foundation.resource_id import ResourceId
from headrace.kinds.document import Document, Place, Plain, path_text
from headrace.kinds.envelope import Envelope, read_envelope
from headrace.kinds.kind import Draft, World
from headrace.kinds.loader import load_documents
from headrace.kinds.mistake import Mistake
from headrace.kinds.problem import Problem
from headrace.kinds.queries import QueryChecker
from headrace.kinds.resource import Resource
from headrace.kinds.resource_json import resource_from_json, resource_to_json
from headrace.kinds.spec_model import SpecModel
from headrace.kinds.spec_reading import ReadSpec, read_spec
from headrace.kinds.yaml_tree import parse

__all__ = ["Loaded", "Resource", "load", "read_documents", "read_text", "resource_from_json", "resource_to_json"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What files declare."""

    resources: list[Resource]
    """Resources without a mistake, in file order."""
    mistakes: list[Mistake]
    """By place."""
    warnings: list[Mistake]
    """Allowed, but probably not intended."""


@dataclass(slots=True)
class _Reading:
    """One document, as far as it has been read."""

    document: Document
    envelope: Envelope
    draft: Draft | None
    spec: SpecModel | None = None
    problems: tuple[Problem, ...] = ()
    """Locations start at the document's root."""

    @property
    def is_right(self) -> bool:
        return self.spec is not None and all(problem.warning for problem in self.problems)


def load(
    paths: Sequence[str | Path], *, existing: Sequence[Resource] = (), streams: str = "duckdb", look: bool = True
) -> Loaded:
    """Reads files, folders, globs and `-`. `existing`: applied before, which the files may name and replace.

    `streams`: the engine whose planner checks the queries; `look`: schemas that are left out may be inferred from a
    source's first records.
    """
    documents, mistakes = load_documents(paths)
    return _with(mistakes, read_documents(documents, existing=existing, streams=streams, look=look))


def read_text(
    text: str, file: str, base_dir: str = ".", *, existing: Sequence[Resource] = (), streams: str = "duckdb"
) -> Loaded:
    """The same of one text, whose relative paths start at `base_dir`."""
    documents, mistakes = parse(text, file, base_dir)
    return _with(mistakes, read_documents(documents, existing=existing, streams=streams))


def read_documents(
    documents: Sequence[Document], *, existing: Sequence[Resource] = (), streams: str = "duckdb", look: bool = True
) -> Loaded:
    """The same of documents that are parsed already."""
    readings = [_reading(document) for document in documents]
    world = _world(readings, existing)
    for reading in readings:
        _read_spec(reading, world)
    right = {one.id: one for one in existing} | {
        resource.id: resource for reading in readings if reading.is_right and (resource := _resource(reading))
    }
    _check_queries(readings, QueryChecker(list(right.values()), world, streams, look))
    mistakes = _duplicates(readings)
    warnings: list[Mistake] = []
    for reading in readings:
        for problem in reading.problems:
            (warnings if problem.warning else mistakes).append(_mistake(reading, problem))
    resources = [resource for reading in readings if reading.is_right and (resource := _resource(reading))]
    return Loaded(resources, sorted(set(mistakes)), sorted(set(warnings)))


def _with(mistakes: Sequence[Mistake], loaded: Loaded) -> Loaded:
    return replace(loaded, mistakes=sorted([*mistakes, *loaded.mistakes]))


def _reading(document: Document) -> _Reading:
    envelope = read_envelope(document)
    return _Reading(document, envelope, envelope.draft(), problems=envelope.problems)


def _world(readings: Sequence[_Reading], existing: Sequence[Resource]) -> World:
    drafts = {one.id: Draft(one.id, dict(one.raw)) for one in existing}
    drafts |= {one.draft.id: one.draft for one in readings if one.draft}
    return World(drafts)


def _read_spec(reading: _Reading, world: World) -> None:
    envelope = reading.envelope
    if envelope.kind is None or envelope.spec is None:
        return
    # The rest of a document is worth checking even where its name is wrong.
    draft = reading.draft or Draft(ResourceId(envelope.kind.name, envelope.namespace, "?"), envelope.spec)
    read: ReadSpec = read_spec(envelope.kind, draft, world)
    reading.spec = read.spec
    reading.problems += tuple(_below_spec(problem) for problem in read.problems)


def _check_queries(readings: Sequence[_Reading], checker: QueryChecker) -> None:
    for reading in readings:
        resource = _resource(reading)
        if resource:
            known = {(problem.location, problem.of_key) for problem in reading.problems}
            found = [_below_spec(problem) for problem in checker.problems(resource)]
            reading.problems += tuple(one for one in found if (one.location, one.of_key) not in known)


def _below_spec(problem: Problem) -> Problem:
    return replace(problem, location=("spec", *problem.location))


def _mistake(reading: _Reading, problem: Problem) -> Mistake:
    document, title = reading.document, reading.envelope.title
    place = document.place(problem.location, of_key=problem.of_key)
    if problem.text_line is not None:
        place = _line_of_text(document, problem, place)
    path = ": ".join(part for part in (title, path_text(problem.location)) if part)
    return Mistake(
        document.file, place.line, place.column, path, problem.message, problem.valid, problem.near, problem.hint
    )


def _line_of_text(document: Document, problem: Problem, start: Place) -> Place:
    """A `|` text starts in the line below its sign."""
    node = document.node(problem.location)
    below = (problem.text_line or 1) - 1 + (1 if node and node.block else 0)
    return Place(start.line + below, start.column if below == 0 else 1)


def _duplicates(readings: Sequence[_Reading]) -> list[Mistake]:
    seen: dict[ResourceId, _Reading] = {}
    mistakes: list[Mistake] = []
    for reading in readings:
        if reading.draft is None:
            continue
        key = reading.draft.id
        if first := seen.get(key):
            place = first.document.place(("metadata", "name"))
            message = f"declared twice in namespace {key.namespace}; first at {first.document.file}:{place.line}"
            mistakes.append(
                _mistake(reading, Problem(("metadata", "name"), message, hint="Remove or rename one of them."))
            )
        seen.setdefault(key, reading)
    return mistakes


def _resource(reading: _Reading) -> Resource | None:
    envelope, document = reading.envelope, reading.document
    if reading.spec is None or reading.draft is None:
        return None
    return Resource(
        envelope.api_version,
        reading.draft.id.kind,
        reading.draft.namespace,
        reading.draft.name,
        envelope.labels,
        envelope.annotations,
        reading.spec,
        cast("Mapping[str, Plain]", envelope.spec),
        document.file,
        document.root.place.line,
        str(Path(document.base_dir).resolve()),
    )
