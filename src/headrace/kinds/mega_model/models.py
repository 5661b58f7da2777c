"""The variants of a MegaModel's spec: one per installed provider, with the provider's own block in `modelTemplate`."""

from functools import cache
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, Field

from headrace.foundation.installed import installed
from headrace.kinds.fields import words
from headrace.kinds.kind import Draft
from headrace.kinds.mega_model.spec import MegaModelSpec
from headrace.kinds.secret_fields import with_references
from headrace.kinds.spec_model import SpecModel
from headrace.teachers.templates import TEMPLATES

GROUP = "headrace.teachers"
_create: Any = pydantic.create_model
TEMPLATE = "model_template"
BLOCK = "block"
"""The field of a variant's `model_template` that holds the provider's block."""


@cache
def providers() -> tuple[str, ...]:
    """The providers that are installed and say what their block holds, sorted."""
    return tuple(sorted({point.name for point in installed(GROUP)} & set(TEMPLATES)))


def block_key(provider: str) -> str:
    """The key of a provider's block: AzureOpenAI → azureOpenAI."""
    return TEMPLATES[provider][0]


def choose(draft: Draft) -> str:
    """By `modelProvider`; where that is wrong, the variant whose block is given."""
    provider = draft.text("modelProvider")
    if provider in providers():
        return provider
    given = draft.given("modelTemplate")
    keys = set(given) if isinstance(given, dict) else set[str]()
    return next((name for name in providers() if block_key(name) in keys), providers()[0])


@cache
def variant(provider: str) -> type[SpecModel]:
    """The model of one provider's MegaModel."""
    block: type[BaseModel] = with_references(TEMPLATES[provider][1])
    doc = f"The options of {provider}."
    template = _create(
        f"{provider}ModelTemplate",
        __base__=SpecModel,
        __doc__=f"How to call {provider}.",
        **{BLOCK: (block, Field(alias=block_key(provider), description=doc))},
    )
    return _create(
        f"MegaModel{provider}",
        __base__=MegaModelSpec,
        __doc__=MegaModelSpec.__doc__,
        model_provider=(Annotated[str, words(*providers())], Field(description="Who provides the model.")),
        **{TEMPLATE: (template, Field(description="The provider's own options, in a block of its name."))},
    )
