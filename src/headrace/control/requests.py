"""Requests that need stopped stages, kept in the log until done: a reset, a purge, a deletion.

The stages concerned must be stopped. The holder of the state directory performs the request: the supervisor between two looks, or
the command itself if nothing runs. A request that a kill interrupts is performed again at the next start, so every step must be
repeatable. The last step is one commit that removes the request and records the outcome.
"""

from collections.abc import Mapping
from typing import Literal
from uuid import uuid4

import msgspec

from headrace.foundation.clock import Clock
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import Commit, StateKey, TopicLog

OWNER, OUTCOMES = "requests", "request-outcomes"
OUTCOME_KEPT_MS = 86_400_000


class Request(msgspec.Struct, frozen=True):
    """A request."""

    verb: Literal["reset", "purge", "delete"]
    resource: str
    """`Kind/namespace/name`"""
    start: str = ""
    """Of a reset: where it starts."""

    @property
    def id(self) -> ResourceId:
        return ResourceId.parse(self.resource)


class RequestOutcome(msgspec.Struct, frozen=True):
    """The outcome of a request."""

    message: str
    exit_code: int = 0
    done_ms: int = 0


def entry(request: Request, clock: Clock) -> tuple[StateKey, bytes]:
    """The state that keeps a request. Keys sort by time."""
    return StateKey(OWNER, f"{clock.now_ms():015d}-{uuid4().hex}"), msgspec.json.encode(request)


def submit(log: TopicLog, request: Request, clock: Clock) -> str:
    """Stores the request; returns its key."""
    place, value = entry(request, clock)
    log.commit(Commit(state={place: value}))
    return place.key


def pending(log: TopicLog) -> Mapping[str, Request]:
    """Requests not done yet, oldest first."""
    entries = log.state(OWNER)
    return {key: msgspec.json.decode(entries[key].value, type=Request) for key in sorted(entries)}


def answered(log: TopicLog, key: str, outcome: RequestOutcome, clock: Clock) -> dict[StateKey, bytes | None]:
    """The state that a request's last commit writes: removes the request and outcomes older than a day, adds its outcome."""
    now = clock.now_ms()
    known = {one: msgspec.json.decode(entry.value, type=RequestOutcome) for one, entry in log.state(OUTCOMES).items()}
    old = [one for one, said in known.items() if said.done_ms < now - OUTCOME_KEPT_MS]
    said = msgspec.structs.replace(outcome, done_ms=now)
    return {
        **{StateKey(OUTCOMES, one): None for one in old},
        StateKey(OWNER, key): None,
        StateKey(OUTCOMES, key): msgspec.json.encode(said),
    }


def fetch_outcome(log: TopicLog, key: str) -> RequestOutcome | None:
    """The outcome, once; None: not done yet."""
    entry = log.state(OUTCOMES, key).get(key)
    if entry is None:
        return None
    log.commit(Commit(state={StateKey(OUTCOMES, key): None}))
    return msgspec.json.decode(entry.value, type=RequestOutcome)
