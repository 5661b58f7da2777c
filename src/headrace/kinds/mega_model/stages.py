"""A MegaModel → how its provider is opened."""

from typing import cast

from pydantic import BaseModel

from headrace.kinds.mega_model.models import BLOCK, TEMPLATE
from headrace.kinds.mega_model.spec import MegaModelSpec
from headrace.kinds.planning import Planned, Planning
from headrace.kinds.resource import Resource
from headrace.kinds.secret_fields import as_written, resolved
from headrace.kinds.secrets import SecretSources
from headrace.teachers.teacher import TeacherOptions


def plan(model: Resource, planning: Planning) -> Planned:
    """Runs nothing of its own; provides TeacherOptions to finetuners."""
    return Planned(provides=teacher_options(model, planning.secrets))


def teacher_options(model: Resource, sources: SecretSources) -> TeacherOptions:
    """Secrets in clear. SecretNotFoundError."""
    spec = cast("MegaModelSpec", model.spec)
    block: BaseModel = getattr(getattr(spec, TEMPLATE), BLOCK)
    return TeacherOptions(
        model.name,
        spec.model_provider,
        resolved(as_written(block), sources, model.folder),
        spec.timeout / 1000,
        spec.price.input_per_million,
        spec.price.output_per_million,
    )
