"""Which stages fail, as their threads report it."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.control.role import HEALTH_STAGE
from headrace.control.stage_thread import HEALTH
from headrace.log.topic_log import TopicLog
from headrace.stages.stage import read_statuses
from headrace.stages.stage_spec import StageSpec

HOPELESS_FAILURES = 5
"""Failures in a row after which a run that ends when idle stops waiting for a stage."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A stage whose last steps failed for good."""

    spec: StageSpec
    message: str
    failures: int
    exit_code: int


def failing(log: TopicLog, specs: Sequence[StageSpec], since_ms: int) -> list[Failing]:
    """Those of `specs` that failed after `since_ms`, along the data."""
    said = {(status.resource, status.stage): status for status in read_statuses(log)}
    found: list[Failing] = []
    for spec in specs:
        status = said.get((str(spec.id), f"{spec.kind}{HEALTH_STAGE}"))
        for condition in status.conditions if status else ():
            if status and condition.type == HEALTH and condition.status == "False" and condition.since_ms >= since_ms:
                failures = int(status.progress.get("failures", 0))
                exit_code = int(status.progress.get("exitCode", 1))
                found.append(Failing(spec, condition.message, failures, exit_code))
    return found
