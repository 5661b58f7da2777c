"""A draft's spec → its model, and everything that is wrong with it."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from headrace.kinds.document import Location, Plain
from headrace.kinds.kind import Draft, Kind, World
from headrace.kinds.placeholders import SAMPLE_WORDS, is_certain_placeholder, left_in
from headrace.kinds.problem import Problem
from headrace.kinds.references import dangling
from headrace.kinds.secret_fields import secrets_in
from headrace.kinds.spec_errors import problems_of
from headrace.kinds.spec_model import SpecModel


@dataclass(frozen=True, slots=True)
class ReadSpec:
    """What could be read of a spec. Problems' locations start below `spec`."""

    spec: SpecModel | None
    """Without what is wrong; None where too little is left."""
    problems: tuple[Problem, ...]


def read_spec(kind: Kind, draft: Draft, world: World) -> ReadSpec:
    """Its fields, placeholders, what it names, what its fields are together: everything at once."""
    model = kind.model(draft)
    spec, errors = _validated(model, draft.spec)
    placeholders = list(_placeholders(kind, draft, spec))
    if not isinstance(draft.spec, dict):
        return ReadSpec(None, tuple(errors))
    checks = [*dangling(draft, model, world), *kind.check(draft, world)]
    problems = _first_said([placeholders, checks, errors])
    if spec is not None and not problems:
        problems += _literal_placeholders(spec)
    return ReadSpec(spec, tuple(problems))


def _placeholders(kind: Kind, draft: Draft, spec: SpecModel | None) -> Iterator[Problem]:
    """Secrets may be written in capitals, so there only the samples' own words count."""
    secret = {location for location, _ in secrets_in(spec)}
    for location, word in left_in(draft.spec, kind.free_text):
        if location not in secret or word in SAMPLE_WORDS or is_certain_placeholder(word):
            yield Problem(location, f"the placeholder {word} was not replaced", hint="Replace it with a value.")


def _first_said(groups: Iterable[Iterable[Problem]]) -> list[Problem]:
    """One problem of each group per location and side; an earlier group knows better."""
    problems: list[Problem] = []
    covered: set[tuple[Location, bool]] = set()
    for group in groups:
        fresh = [problem for problem in group if (problem.location, problem.of_key) not in covered]
        covered |= {(problem.location, problem.of_key) for problem in fresh if problem.location}
        problems += fresh
    return problems


def _validated(model: type[SpecModel], given: Plain) -> tuple[SpecModel | None, list[Problem]]:
    """The model, of what is left once wrong values are taken out; and what was wrong."""
    try:
        return model.model_validate(given), []
    except ValidationError as error:
        problems = list(problems_of(error, model, given))
    locations = [problem.location for problem in problems]
    pruned = copy.deepcopy(given)
    for location in locations:
        _remove(pruned, location)
    try:
        return model.model_validate(pruned), problems
    except ValidationError:
        return None, problems


def _remove(value: Plain, location: Location) -> None:
    """Takes one key out; what is not there, or is an item of a list, stays."""
    *above, last = location or (0,)
    for step in above:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    if isinstance(value, dict) and isinstance(last, str):
        value.pop(last, None)


def _literal_placeholders(spec: SpecModel) -> Iterator[Problem]:
    """A literal secret in capitals is allowed, because some are, and told."""
    for location, secret in secrets_in(spec):
        if secret.looks_like_sample():
            yield Problem(
                location, "looks like a placeholder from the sample", hint="Use ${ENV} instead.", warning=True
            )
