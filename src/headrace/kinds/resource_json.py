"""Resources as bytes for the state store."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from pydantic import ValidationError

from headrace.foundation.errors import CorruptDataError, NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.kinds.document import path_text
from headrace.kinds.kind import Draft
from headrace.kinds.registry import KINDS
from headrace.kinds.resource import Resource
from headrace.kinds.spec_errors import problems_of
from headrace.kinds.spec_model import SpecModel


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
    """For the state store, which nobody else may read: it holds secrets as they were given.

    Equal resources give equal bytes: the place in a file is no part of it.
    """
    stored = _Stored(
        resource.api_version,
        resource.kind,
        resource.namespace,
        resource.name,
        dict(resource.labels),
        dict(resource.annotations),
        dict(resource.raw),
        resource.base_dir,
    )
    return msgspec.json.encode(stored, order="deterministic")


def resource_from_json(data: bytes | msgspec.Raw) -> Resource:
    """The inverse. CorruptDataError where the bytes are no resource that this version reads; NotFoundError: its kind is not installed."""
    try:
        stored = msgspec.json.decode(data, type=_Stored)
    except msgspec.MsgspecError as error:
        raise CorruptDataError(f"a stored resource cannot be parsed: {error}") from error
    kind = KINDS.get(stored.kind)
    if kind is None:
        raise NotFoundError(
            f"{stored.kind}/{stored.name} is applied in namespace {stored.namespace}, but its kind is not installed",
            next_step="Install the package that provides it.",
        )
    try:
        draft = Draft(ResourceId(stored.kind, stored.namespace, stored.name), stored.spec)
        spec = kind.model(draft).model_validate(stored.spec)
    except ValidationError as error:
        problem = next(iter(problems_of(error, SpecModel)))
        raise CorruptDataError(
            f"a stored resource is invalid: {path_text(problem.location)}: {problem.message}"
        ) from None
    return Resource(
        stored.api_version,
        stored.kind,
        stored.namespace,
        stored.name,
        cast("Mapping[str, str]", stored.labels),
        stored.annotations,
        spec,
        stored.spec,
        base_dir=stored.base_dir,
    )
