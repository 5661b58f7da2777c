"""Finds the installed providers by entry point (`headrace.teachers`) and opens them."""

from typing import cast

from headrace.foundation.errors import InvalidDeclarationError, MissingExtraError
from headrace.foundation.installed import installed
from headrace.teachers.teacher import OpenTeacher, Teacher, TeacherOptions

GROUP = "headrace.teachers"


def providers() -> tuple[str, ...]:
    """The values allowed for `modelProvider` here, sorted."""
    return tuple(sorted({entry.name for entry in installed(GROUP)}))


def open_teacher(options: TeacherOptions) -> Teacher:
    """The client for `options.provider`.

    InvalidDeclarationError if the provider is unknown or its template wrong; MissingExtraError without its SDK.
    """
    found = list(installed(GROUP).select(name=options.provider))
    if not found:
        raise InvalidDeclarationError(
            f"unknown provider {options.provider!r}",
            where=f"MegaModel/{options.name}: spec.modelProvider",
            next_step=f"use one of: {', '.join(providers())}",
        )
    try:
        opener = cast("OpenTeacher", found[0].load())
    except ImportError as error:
        raise MissingExtraError(
            f"the client of {options.provider} cannot be loaded: {error}",
            where=f"MegaModel/{options.name}",
            next_step=f"run `pip install {error.name}`" if error.name else "install the provider's SDK",
        ) from error
    return opener(options)
