"""The top of a document: apiVersion, kind, metadata, spec."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.foundation.resource_id import ResourceId
from headrace.kinds.document import Document, Location, Plain
from headrace.kinds.fields import FieldError, read_name
from headrace.kinds.kind import Draft, Kind
from headrace.kinds.mistake import nearest
from headrace.kinds.placeholders import is_placeholder
from headrace.kinds.problem import Problem
from headrace.kinds.registry import KINDS

TOP_KEYS = ("apiVersion", "kind", "metadata", "spec")
METADATA_KEYS = ("name", "namespace", "labels", "annotations")
SERVER_KEYS = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "finalizers", "managedFields",
     "ownerReferences", "selfLink"}
)  # fmt: skip
"""Fields a server adds to metadata; accepted and ignored, so that the output of `get` can be applied."""
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the top says, as far as it could be read. Problems' locations start at the document's root."""

    api_version: str
    kind: Kind | None
    namespace: str
    name: str | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Plain
    problems: tuple[Problem, ...]

    @property
    def title(self) -> str:
        """`StreamFinetuner/desk`, for messages; empty where nothing is known."""
        if self.kind is None and self.name is None:
            return ""
        return f"{self.kind.name if self.kind else '?'}/{self.name or '?'}"

    def draft(self) -> Draft | None:
        """None where the kind or the name is not known."""
        if self.kind is None or self.name is None:
            return None
        return Draft(ResourceId(self.kind.name, self.namespace, self.name), self.spec)


def read_envelope(document: Document) -> Envelope:
    """Reads the top of a document, with everything that is wrong there."""
    top = document.root.plain()
    if not isinstance(top, dict):
        problem = Problem((), "a resource must be a mapping", hint=f"Start with {', '.join(TOP_KEYS)}.")
        return Envelope("", None, DEFAULT_NAMESPACE, None, {}, {}, None, (problem,))
    problems = [*_unknown(top, (*TOP_KEYS, "status"), ()), *_missing(top)]
    kind = _kind(top, problems)
    version = _api_version(top, kind, problems)
    metadata = top.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        problems.append(Problem(("metadata",), "must be a mapping", METADATA_KEYS))
    metadata = metadata if isinstance(metadata, dict) else {}
    problems += _unknown(metadata, METADATA_KEYS, ("metadata",), SERVER_KEYS)
    name = _name(metadata, "name", problems) if "metadata" in top else None
    namespace = _name(metadata, "namespace", problems) if metadata.get("namespace") is not None else DEFAULT_NAMESPACE
    labels, annotations = (_texts(metadata, key, problems) for key in ("labels", "annotations"))
    return Envelope(
        version, kind, namespace or DEFAULT_NAMESPACE, name, labels, annotations, top.get("spec"), tuple(problems)
    )


def _unknown(
    given: Mapping[str, Plain], valid: tuple[str, ...], above: Location, ignored: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    for key in given:
        if key not in valid and key not in ignored:
            yield Problem((*above, key), f"unknown key {key!r}", valid, nearest(key, valid), of_key=True)


def _missing(top: Mapping[str, Plain]) -> Iterator[Problem]:
    for key in TOP_KEYS:
        if top.get(key) is None:
            yield Problem((key,) if key in top else (), f"{key} is missing", hint=f"Write `{key}:`.", of_key=True)


def _kind(top: Mapping[str, Plain], problems: list[Problem]) -> Kind | None:
    given = top.get("kind")
    if isinstance(given, str) and given in KINDS:
        return KINDS[given]
    if given is not None:
        shown = given if isinstance(given, str) else "this"
        problems.append(Problem(("kind",), f"there is no kind {shown!r}", tuple(KINDS), nearest(shown, KINDS)))
    return None


def _api_version(top: Mapping[str, Plain], kind: Kind | None, problems: list[Problem]) -> str:
    given = top.get("apiVersion")
    valid = kind.api_versions if kind else tuple(sorted({v for one in KINDS.values() for v in one.api_versions}))
    if given is None or given in valid:
        return str(given or valid[0])
    near = nearest(given, valid) if isinstance(given, str) else None
    what = f"{kind.name} has no apiVersion {given!r}" if kind else f"there is no apiVersion {given!r}"
    problems.append(Problem(("apiVersion",), what, valid, near))
    return valid[0]


def _name(metadata: Mapping[str, Plain], key: str, problems: list[Problem]) -> str | None:
    given = metadata.get(key)
    if given is None:
        problems.append(Problem(("metadata",), f"{key} is missing", hint=f"Write `{key}:`.", of_key=True))
        return None
    if isinstance(given, str) and is_placeholder(given):
        problems.append(Problem(("metadata", key), f"the placeholder {given} was not replaced", hint="Set a name."))
        return None
    try:
        return read_name(given)
    except FieldError as error:
        problems.append(Problem(("metadata", key), str(error), error.valid, error.near, error.hint))
        return None


def _texts(metadata: Mapping[str, Plain], key: str, problems: list[Problem]) -> Mapping[str, str]:
    given = metadata.get(key)
    if given is None:
        return {}
    if not isinstance(given, dict):
        problems.append(Problem(("metadata", key), "must be a mapping of text to text"))
        return {}
    for label, value in given.items():
        if not isinstance(value, str):
            problems.append(Problem(("metadata", key, label), "must be text", hint="Put it in quotes."))
    return {label: value for label, value in given.items() if isinstance(value, str)}
