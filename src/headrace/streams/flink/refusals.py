"""Turns Flink's refusal of a job into an error for the author of the query."""

import re

from headrace.foundation.errors import (
    HeadraceError,
    InvalidDeclarationError,
    InvalidQueryError,
    UnavailableError,
)
from headrace.streams.flink.errors import Cause, causes
from headrace.streams.flink.savepoints import savepoint_gone
from headrace.streams.query_error import place_at

_NO_FACTORY = re.compile(r"Could not find any factory for identifier '([^']+)' that implements '[\w.]*?(\w+)'")
_POSITION = re.compile(r"^(?:At|From) line \d+, column \d+(?: to line \d+, column \d+)?: ")
_JARS = {"kafka": "flink-sql-connector-kafka", "upsert-kafka": "flink-sql-connector-kafka", "json": "flink-json"}
_QUERY_KINDS = frozenset({
    "ValidationException", "SqlParserException", "SqlParseException", "SqlValidatorException", "CalciteContextException",
    "CalciteException", "SqlParserEOFException", "CannotPlanException", "CodeGenException", "TableException",
})  # fmt: skip
_POISONED = " (with high availability, remove this job's *_DIRTY.json from Flink's job-result-store before its JobManager is started again)"
_NAMES = re.compile(r"'([^'\s]+)'|\b([A-Za-z_]\w*)\(|`([^`]+)`")


def refused(trace: str, sql: str, savepoint: str | None) -> HeadraceError:
    """The error to raise for a trace: the query, the savepoint, the cluster's jars, or the cluster itself. `sql`: as the user wrote it."""
    told = causes(trace)
    text = "\n".join(one.message for one in told)
    why = told[-1].message.splitlines()[0].strip() if told else "no reason given"
    if (missing := _NO_FACTORY.search(text)) is not None:
        return _no_jar(missing[1])
    if any(one.kind in {"NoClassDefFoundError", "ClassNotFoundException"} for one in told):
        return InvalidDeclarationError(
            f"the cluster lacks a class: {why}", next_step="put the same jars into lib/ of every Flink server"
        )
    if savepoint is not None and (error := _no_savepoint(told, text, savepoint)) is not None:
        return error
    if any(one.kind == "NoResourceAvailableException" for one in told):
        return UnavailableError(
            f"Flink has no slots for the job: {why}", next_step="add a TaskManager or cancel another job"
        )
    planning = [one for one in told if one.kind in _QUERY_KINDS]
    if planning and not _runtime(told):
        message = _POSITION.sub("", planning[-1].message.splitlines()[0])
        return InvalidQueryError(
            f"Flink refuses the query: {message}", where=place_in(sql, message), next_step="rewrite the query"
        )
    return UnavailableError(f"Flink did not start the job: {why}")


def _runtime(told: tuple[Cause, ...]) -> bool:
    """A plan that was made, and a job that could not be submitted: no fault of the query's."""
    return any(
        one.kind
        in {"JobSubmissionException", "JobInitializationException", "JobExecutionException", "RestClientException"}
        or one.message.startswith("Failed to execute job")
        for one in told
    )


def _no_jar(identifier: str) -> InvalidDeclarationError:
    jar = _JARS.get(identifier)
    return InvalidDeclarationError(
        f"the SQL gateway does not know {identifier!r}: {jar or 'its jar'} is missing",
        next_step=f"put {jar or 'the jar of ' + identifier} of the cluster's version into lib/ of the gateway, the JobManager and the "
        "TaskManagers, and restart them",
    )  # fmt: skip


def _no_savepoint(told: tuple[Cause, ...], text: str, savepoint: str) -> HeadraceError | None:
    if any(one.kind == "FileNotFoundException" for one in told) or "Cannot find meta data file" in text:
        return savepoint_gone(savepoint, _POISONED)
    if (
        "Cannot map" in text
        or "Failed to rollback to checkpoint/savepoint" in text
        or "StateMigrationException" in text
    ):
        return InvalidQueryError(
            f"the savepoint {savepoint} does not fit the query{_POISONED}: {told[-1].message.splitlines()[0]}",
            next_step="start a new job that reads its inputs from the beginning",
        )
    return None


def place_in(sql: str, message: str) -> str | None:
    """The place in the user's SQL of the first name in a message that stands there; None: none does."""
    for match in _NAMES.finditer(message):
        name = next(group for group in match.groups() if group)
        found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE)
        if found is not None:
            return place_at(sql, found.start())
    return None
