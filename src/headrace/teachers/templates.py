"""The blocks of `modelTemplate`, one per provider: a MegaModel's description of its large model.

Loads no SDK, so that `kinds/` can validate and document them. Values arrive with their secrets resolved.
"""

from collections.abc import Mapping
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from headrace.foundation.errors import InvalidDeclarationError
from headrace.teachers.teacher import TeacherOptions

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^https?://[^\s/]+")]


class Template(BaseModel):
    """Shared by all blocks: camelCase keys, unknown ones rejected."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


class OpenAITemplate(Template):
    """`modelTemplate.openAI`: OpenAI's API, or any endpoint with the same protocol."""

    apikey: SecretStr = SecretStr("")
    """API key. Optional if `endpoint` is a server that requires none."""
    model: Name
    """The provider's name of the model, such as `gpt-4o-mini`."""
    endpoint: Address = "https://api.openai.com/v1"
    """Base URL of the API, with its version, such as `http://127.0.0.1:8700/v1`."""

    @model_validator(mode="after")
    def _key_for_openai(self) -> "OpenAITemplate":
        if not self.apikey.get_secret_value() and "endpoint" not in self.model_fields_set:
            raise ValueError(
                "apikey is needed for OpenAI's own API; set it, or set endpoint to a server that asks for none"
            )
        return self


class AzureOpenAITemplate(Template):
    """`modelTemplate.azureOpenAI`: a deployment in Azure OpenAI."""

    api_version: Name
    """Version of Azure's API, such as `2024-10-21`."""
    apikey: SecretStr = Field(min_length=1)
    """API key of the resource."""
    deployment: Name
    """Name of the deployment; identifies the model."""
    endpoint: Address
    """Address of the resource, such as `https://NAME.openai.azure.com`."""


class AnthropicTemplate(Template):
    """`modelTemplate.anthropic`: Anthropic's Messages API."""

    apikey: SecretStr = Field(min_length=1)
    """API key."""
    model: Name
    """Name of the model."""
    endpoint: Address = "https://api.anthropic.com"
    """Base URL of the API, without its version."""


class GeminiTemplate(Template):
    """`modelTemplate.gemini`: Google's Gemini API."""

    apikey: SecretStr = Field(min_length=1)
    """API key."""
    model: Name
    """Name of the model, such as `gemini-2.5-flash`."""
    endpoint: Address = "https://generativelanguage.googleapis.com"
    """Base URL of the API, without its version."""


TEMPLATES: Mapping[str, tuple[str, type[Template]]] = {
    "OpenAI": ("openAI", OpenAITemplate),
    "AzureOpenAI": ("azureOpenAI", AzureOpenAITemplate),
    "Anthropic": ("anthropic", AnthropicTemplate),
    "Gemini": ("gemini", GeminiTemplate),
}
"""`modelProvider` → (key of its block in `modelTemplate`, model of the block)."""

Block = TypeVar("Block", bound=Template)


def canonical_endpoint(address: str) -> str:
    """A canonical form of an address: without user, trailing slash or capitals in the host."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"


def read_template(options: TeacherOptions, block: type[Block]) -> Block:
    """The provider's block, validated. InvalidDeclarationError names each wrong key and never repeats values."""
    try:
        return block.model_validate(dict(options.template))
    except ValidationError as error:
        key = next((key for key, model in TEMPLATES.values() if model is block), block.__name__)
        mistakes = [
            f"{'.'.join(map(str, item['loc'])) or key}: {item['msg']}" for item in error.errors(include_input=False)
        ]
        valid = ", ".join(field.alias or name for name, field in block.model_fields.items())
        raise InvalidDeclarationError(
            "; ".join(mistakes),
            where=f"MegaModel/{options.name}: spec.modelTemplate.{key}",
            next_step=f"the keys are {valid}",
        ) from None
