"""Secrets: written literally, as `${ENV}`, as a file or as a Secret reference; shown never."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from headrace.foundation.errors import NotFoundError
from headrace.kinds.document import Plain
from headrace.kinds.fields import FieldError

MASK = "**********"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class SecretSources:
    """Where secrets are looked up: the environment, and a folder that Secret references are mounted under."""

    environ: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    folder: Path | None = None


class SecretNotFoundError(NotFoundError):
    """An environment variable, a file or a Secret that a resource names is not there."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as it was given. Neither `repr` nor `str` nor a dump shows a literal one."""

    given: Plain = field(repr=False)

    def __str__(self) -> str:
        return str(self.masked())

    def masked(self) -> Plain:
        """What may be shown: the reference where it is one, else asterisks."""
        if isinstance(self.given, str) and not _VARIABLE.fullmatch(self.given):
            return MASK
        return self.given

    def get_secret_value(self) -> str:
        """As it was given, for the validators of option models that were written for SecretStr; never for use or display."""
        return str(self.given)

    def looks_like_sample(self) -> bool:
        """A literal of capitals and underscores alone, such as SECRET_KEY."""
        return self.literal and bool(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", str(self.given)))

    @property
    def literal(self) -> bool:
        """Whether the YAML holds the secret itself."""
        return isinstance(self.given, str) and not _VARIABLE.search(self.given)

    def resolve(self, sources: SecretSources, base_dir: Path) -> str:
        """The secret itself. SecretNotFoundError says what is not there."""
        if isinstance(self.given, str):
            return expand(self.given, sources)
        assert isinstance(self.given, dict)
        return _read(_path(self.given, sources, base_dir))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            read_secret,
            serialization=core_schema.plain_serializer_function_ser_schema(_shown),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        def block(**properties: Any) -> dict[str, Any]:
            return {
                "type": "object",
                "additionalProperties": False,
                "required": list(properties),
                "properties": properties,
            }

        text = {"type": "string"}
        return {"anyOf": [text, block(file=text), block(secretRef=block(name=text, key=text))]}


def _shown(value: object) -> Plain:
    """What a dump shows. A default of the provider's own model was written by nobody, and is hidden like a literal secret."""
    return value.masked() if isinstance(value, Secret) else MASK


def read_secret(value: object) -> Secret:
    """Reads any of the forms; FieldError never shows what was given."""
    if isinstance(value, Secret):
        return value
    forms = ("text", "${ENV}", "{file: PATH}", "{secretRef: {name: NAME, key: KEY}}")
    if isinstance(value, str):
        if not value.strip():
            raise FieldError("must not be empty", valid=forms)
        return Secret(value)
    if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
        return Secret({"file": value["file"]})
    if isinstance(value, dict) and set(value) == {"secretRef"}:
        reference = value["secretRef"]
        if isinstance(reference, dict) and set(reference) == {"name", "key"}:
            name, key = reference["name"], reference["key"]
            if all(isinstance(part, str) and re.fullmatch(r"[a-zA-Z0-9][-._a-zA-Z0-9]*", part) for part in (name, key)):
                return Secret({"secretRef": {"name": name, "key": key}})
    raise FieldError("is not a secret", valid=forms)


def expand(text: str, sources: SecretSources) -> str:
    """Fills in every `${NAME}`. SecretNotFoundError names the variables that are not set, nothing else."""
    missing = sorted({name for name in _VARIABLE.findall(text) if not sources.environ.get(name)})
    if missing:
        raise SecretNotFoundError(
            f"the environment variable {missing[0]} is not set", next_step=f"Set it: export {missing[0]}=…"
        )
    return _VARIABLE.sub(lambda match: sources.environ[match[1]], text)


def _path(given: Mapping[str, Plain], sources: SecretSources, base_dir: Path) -> Path:
    if "file" in given:
        return base_dir / Path(str(given["file"])).expanduser()
    reference = given["secretRef"]
    assert isinstance(reference, dict)
    if sources.folder is None:
        raise SecretNotFoundError(
            f"the Secret {reference['name']} cannot be looked up here",
            next_step="Set `secrets` to the folder in which Secrets are mounted, or use ${ENV}.",
        )
    return sources.folder / str(reference["name"]) / str(reference["key"])


def _read(path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SecretNotFoundError(
            f"the secret file {path} cannot be read: {why}", next_step="Create the file."
        ) from None
    if not text:
        raise SecretNotFoundError(f"the secret file {path} is empty", next_step="Write the secret into it.")
    return text
