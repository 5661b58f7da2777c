"""When the next call may be sent: requests per minute, the provider's own limits, requested pauses."""

import asyncio

from headrace.foundation.clock import Clock
from headrace.teachers.teacher import RateLimits, TeacherUnavailableError


class Pace:
    """A token bucket in its virtual-scheduling form (GCRA, ITU-T I.371): never more than rate · t + burst calls in t.

    The burst is one second's worth of calls, at least one.
    """

    def __init__(self, requests_per_minute: float, clock: Clock) -> None:
        self._interval = 60.0 / requests_per_minute if requests_per_minute > 0 else 0.0
        self._slack = max(0.0, 1.0 - self._interval)
        self._next = clock.monotonic()
        self._clock = clock

    async def take(self) -> None:
        """Waits for a slot; slots are granted in order of arrival."""
        if not self._interval:
            return
        now = self._clock.monotonic()
        at = max(self._next, now - self._slack)
        self._next = at + self._interval
        if at > now:
            await asyncio.sleep(at - now)


class Allowance:
    """What the provider's headers report as remaining of one resource (requests or tokens), until it is refilled."""

    def __init__(self) -> None:
        self._left: float | None = None
        self._until = 0.0

    def learn(self, remaining: int | None, reset_seconds: float | None, in_flight: float, now: float) -> None:
        """`in_flight` was sent in the meantime and may not be counted in `remaining` yet."""
        if remaining is not None and reset_seconds is not None:
            self._left, self._until = remaining - in_flight, now + reset_seconds

    def wait_seconds(self, amount: float, now: float) -> float:
        """How long until `amount` may be taken; 0: now."""
        if self._left is None or self._left >= amount:
            return 0.0
        if now >= self._until:
            self._left = None
            return 0.0
        return self._until - now

    def take(self, amount: float) -> None:
        if self._left is not None:
            self._left -= amount


class Gate:
    """One per teacher: every call passes through it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paused_until = 0.0
        self._requests = Allowance()
        self._tokens = Allowance()
        self._requests_in_flight = 0
        self._tokens_in_flight = 0.0
        self._changed = asyncio.Event()

    async def enter(self, tokens: float, give_up_seconds: float) -> None:
        """Waits until a call of about this many tokens may be sent.

        TeacherUnavailableError immediately if the provider requests a longer wait than `give_up_seconds`.
        """
        started = self._clock.monotonic()
        while (wait := self._wait_seconds(tokens)) > 0:
            waited = self._clock.monotonic() - started
            if waited + wait > give_up_seconds:
                raise TeacherUnavailableError(
                    f"the teacher's rate limit requires a wait of {wait:.0f} s",
                    retry_after_seconds=wait,
                    rate_limited=True,
                )
            await self._wait_for_change(wait)
        self._requests.take(1)
        self._tokens.take(tokens)
        self._requests_in_flight += 1
        self._tokens_in_flight += tokens

    def leave(self, tokens: float, limits: RateLimits | None = None) -> None:
        """An admitted call is over; `limits` comes from its response's headers."""
        self._requests_in_flight -= 1
        self._tokens_in_flight -= tokens
        if limits is not None:
            now = self._clock.monotonic()
            self._requests.learn(
                limits.requests_remaining, limits.requests_reset_seconds, self._requests_in_flight, now
            )
            self._tokens.learn(limits.tokens_remaining, limits.tokens_reset_seconds, self._tokens_in_flight, now)
        self._wake()

    def pause(self, seconds: float) -> None:
        """Blocks all calls for a pause that the provider requested."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        self._wake()

    def _wait_seconds(self, tokens: float) -> float:
        now = self._clock.monotonic()
        return max(
            self._paused_until - now, self._requests.wait_seconds(1, now), self._tokens.wait_seconds(tokens, now)
        )

    async def _wait_for_change(self, seconds: float) -> None:
        """A response that arrives in the meantime may lift the block."""
        changed = self._changed
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
