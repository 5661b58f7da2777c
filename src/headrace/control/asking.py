"""Submits a reset or a purge and waits for it: the running supervisor performs it, or this process if none runs."""

import os
from collections.abc import Callable
from contextlib import nullcontext

from headrace.control.performing import perform_pending
from headrace.control.requests import Request, RequestOutcome, fetch_outcome, submit
from headrace.control.supervisor import StateLock
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import BusyError
from headrace.foundation.settings import Settings
from headrace.log.topic_log import TopicLog
from headrace.stages.context import StageContext, backends_of
from headrace.stages.topology import Topology

WAIT_SECONDS = 0.2


def ask(
    request: Request, log: TopicLog, settings: Settings, topology: Callable[[], Topology], clock: Clock = SYSTEM_CLOCK
) -> RequestOutcome:
    """Stores the request and returns once it is done. If interrupted, the request stays and is performed at the next start."""
    key = submit(log, request, clock)
    while (outcome := fetch_outcome(log, key)) is None:
        if not performed_here(log, settings, topology, clock):
            log.wait(WAIT_SECONDS)
    return outcome


def performed_here(
    log: TopicLog, settings: Settings, topology: Callable[[], Topology], clock: Clock = SYSTEM_CLOCK
) -> bool:
    """Performs pending requests. False: another process holds the state directory and performs it."""
    try:
        lock = StateLock(settings.state)
    except BusyError:
        return False
    try:
        context = StageContext(
            log, f"request-{os.getpid()}-{clock.now_ms()}", settings.state, backends_of(settings), clock
        )
        perform_pending(topology, context, lambda _: nullcontext())
    finally:
        lock.release()
    return True
