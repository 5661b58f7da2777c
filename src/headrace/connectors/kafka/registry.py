"""Schemas by id, from a server with Confluent's interface (its documentation, "Schema Registry API Reference")."""

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fastavro
import httpx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from headrace.connectors.kafka.options import RegistryOptions
from headrace.foundation.errors import FinalError, UnavailableError

MAGIC = 0


class UnknownSchemaError(FinalError):
    """A message names a schema that is not there, or of another kind."""


class SchemaRegistry:
    """Asks once for each schema."""

    def __init__(self, options: RegistryOptions) -> None:
        auth = (options.user, options.password.get_secret_value()) if options.user else None
        self._client = httpx.Client(base_url=options.url.rstrip("/"), auth=auth, trust_env=False, timeout=15)
        self._url = options.url
        self._avro: dict[int, Any] = {}
        self._messages: dict[int, list[Any]] = {}

    def avro(self, schema_id: int) -> Any:
        """The parsed schema. UnknownSchemaError; UnavailableError: the registry does not answer."""
        if schema_id not in self._avro:
            text = self._schema(schema_id, "AVRO")
            self._avro[schema_id] = fastavro.parse_schema(json.loads(text))
        return self._avro[schema_id]

    def messages(self, schema_id: int) -> list[Any]:
        """The top-level message descriptors of a Protobuf schema, in order."""
        if schema_id not in self._messages:
            self._messages[schema_id] = _compiled(self._schema(schema_id, "PROTOBUF"), schema_id)
        return self._messages[schema_id]

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """The id of an Avro schema under a subject, as it was or as it is now."""
        body = {"schema": json.dumps(schema), "schemaType": "AVRO"}
        answer = self._ask("POST", f"/subjects/{subject}/versions", body)
        return int(answer["id"])

    def _schema(self, schema_id: int, kind: str) -> str:
        answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        found = answer.get("schemaType", "AVRO")
        if found != kind:
            raise UnknownSchemaError(f"the schema {schema_id} is {found}, not {kind}")
        if answer.get("references"):
            raise UnknownSchemaError(f"the schema {schema_id} refers to others, which is not read")
        return answer["schema"]

    def _ask(self, method: str, place: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._client.request(method, place, json=body)
        except httpx.TransportError as error:
            raise UnavailableError(f"the schema registry does not answer: {error}", where=self._url) from error
        if answer.is_success:
            return answer.json()
        if answer.status_code in (404, 422):
            raise UnknownSchemaError(f"the schema registry: {answer.text[:200]}")
        if answer.status_code in (401, 403):
            raise FinalError(
                "the schema registry refuses these credentials",
                where=self._url,
                next_step="correct spec.kafka.schemaRegistry",
            )
        raise UnavailableError(
            f"the schema registry answers {answer.status_code}: {answer.text[:200]}", where=self._url
        )


def _compiled(text: str, schema_id: int) -> list[Any]:
    """Message classes of a .proto text, by Google's own compiler."""
    tools = Path(importlib.import_module("grpc_tools").__file__ or "").parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"schema_{schema_id}.proto"
        place.write_text(text, "utf-8")
        target = Path(folder) / "set"
        command = [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{tools}", "--include_imports",
            f"--descriptor_set_out={target}", str(place),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnknownSchemaError(f"the Protobuf schema {schema_id} does not compile: {done.stderr[:200]}")
        files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    last = pool.FindFileByName(place.name)
    return [
        message_factory.GetMessageClass(last.message_types_by_name[one.name]) for one in files.file[-1].message_type
    ]
