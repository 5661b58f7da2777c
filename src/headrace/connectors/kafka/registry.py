"""Schemas by id and by subject, from a server with Confluent's interface (its documentation, "Schema Registry API Reference")."""

import json
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote

import httpx

from headrace.connectors.kafka.options import RegistryOptions
from headrace.foundation.errors import FinalError, InvalidDeclarationError, UnavailableError

Kind = Literal["AVRO", "PROTOBUF"]
_TIMEOUT_SECONDS = 15.0
_NO_SUCH_PATH = frozenset({404, 405})
"""The error codes by which a registry reports something missing."""
_NO_SCHEMA, _NO_SUBJECT, _NO_VERSION = 40403, 40401, 40402


class UnknownSchemaError(FinalError):
    """A message names a schema that is missing, of another kind, or unreadable."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A registered schema."""

    id: int
    kind: str
    """AVRO, PROTOBUF or JSON."""
    text: str
    references: tuple[tuple[str, "Schema"], ...] = ()
    """The name by which it refers to another schema (a type's full name or an import path), and that schema."""

    def all_references(self) -> dict[str, "Schema"]:
        """Name → schema of all its dependencies, dependencies first."""
        found: dict[str, Schema] = {}
        for name, schema in self.references:
            found |= schema.all_references()
            found[name] = schema
        return found


class SchemaRegistry:
    """Fetches each schema once; the schema of an id never changes. Not thread-safe."""

    def __init__(self, options: RegistryOptions, where: str) -> None:
        """`where`: StreamConnector/NAME."""
        auth = (options.user, options.password.get_secret_value()) if options.user else None
        self._client = httpx.Client(
            base_url=options.url.rstrip("/"), auth=auth, timeout=_TIMEOUT_SECONDS, follow_redirects=True
        )
        self._where = f"{where}: spec.kafka.schemaRegistry"
        self._schemas: dict[int, Schema] = {}

    def by_id(self, schema_id: int, kind: Kind) -> Schema:
        """UnknownSchemaError: missing or of another kind. UnavailableError: the registry did not answer."""
        if schema_id not in self._schemas:
            answer = self._ask("GET", f"/schemas/ids/{schema_id}", missing=(_NO_SCHEMA,))
            if answer is None:
                raise UnknownSchemaError(f"the schema registry has no schema {schema_id}")
            self._schemas[schema_id] = self._schema(schema_id, answer)
        found = self._schemas[schema_id]
        if found.kind != kind:
            raise UnknownSchemaError(f"the schema {schema_id} is {found.kind}, not {kind}")
        return found

    def latest(self, subject: str) -> Schema | None:
        """The newest version of a subject; None: there is none."""
        place = f"/subjects/{quote(subject, safe='')}/versions/latest"
        answer = self._ask("GET", place, missing=(_NO_SUBJECT, _NO_VERSION))
        return None if answer is None else self._schema(int(answer["id"]), answer)

    def register(self, subject: str, kind: Kind, text: str) -> int:
        """The id of a schema under a subject, registering it if needed. FinalError: invalid, or incompatible with earlier versions."""
        body = {"schema": text, "schemaType": kind}
        answer = self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", body)
        assert answer is not None
        return int(answer["id"])

    def close(self) -> None:
        self._client.close()

    def _schema(self, schema_id: int, answer: dict[str, Any]) -> Schema:
        references: list[tuple[str, Schema]] = []
        for one in answer.get("references") or ():
            place = f"/subjects/{quote(one['subject'], safe='')}/versions/{one['version']}"
            found = self._ask("GET", place, missing=(_NO_SUBJECT, _NO_VERSION))
            if found is None:
                raise UnknownSchemaError(f"the schema {schema_id} refers to {one['subject']}, which does not exist")
            references.append((one["name"], self._schema(int(found["id"]), found)))
        return Schema(schema_id, answer.get("schemaType") or "AVRO", answer["schema"], tuple(references))

    def _ask(
        self, method: str, place: str, body: dict[str, Any] | None = None, *, missing: tuple[int, ...] = ()
    ) -> dict[str, Any] | None:
        """The response; None: one of the error codes `missing`."""
        try:
            answer = self._client.request(method, place, json=body)
        except httpx.TransportError as error:
            raise UnavailableError(
                f"the schema registry did not answer ({type(error).__name__}: {error})", where=self._where,
                next_step=f"check that it is running and reachable at {self._client.base_url}",
            ) from error  # fmt: skip
        found = _object(answer)
        if answer.is_success and found is not None:
            return found
        code = None if found is None else found.get("error_code")
        if code in missing:
            return None
        said = answer.text[:200] if found is None else str(found.get("message", found))[:200]
        if answer.status_code in (401, 403):
            raise InvalidDeclarationError(
                f"the schema registry refuses these credentials: {said}", where=self._where,
                next_step="correct user and password",
            )  # fmt: skip
        if answer.status_code in (408, 429) or answer.is_server_error:
            raise UnavailableError(f"the schema registry answered {answer.status_code}: {said}", where=self._where)
        if code is not None and answer.status_code not in _NO_SUCH_PATH:
            raise FinalError(f"the schema registry answered {answer.status_code}: {said}", where=self._where)
        raise InvalidDeclarationError(
            f"no schema registry found: {method} {place} returned {answer.status_code} without a registry's response",
            where=self._where, next_step="correct the url, including its path",
        )  # fmt: skip


def registry_for(form: str, options: RegistryOptions | None, where: str) -> SchemaRegistry | None:
    """The declared registry. InvalidDeclarationError: the format requires one and none is declared."""
    if form in ("avro", "protobuf") and options is None:
        raise InvalidDeclarationError(
            f"format {form} requires a schema registry", where=f"{where}: spec.kafka", next_step="add schemaRegistry: {url: …}"
        )  # fmt: skip
    return None if options is None else SchemaRegistry(options, where)


def _object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        found = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
