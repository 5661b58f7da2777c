"""Detects a drop in the learner's score, from the scores alone.

Two exponential averages of the same scores, one fast and one slow: an alarm is a fast average below the slow one by more than
chance explains. On a steady stream their difference has the variance var(score) x q, where q follows exactly from the weights
that each average gives to each score; var(score) is estimated from the slow averages of score and score squared. The threshold is
`z` standard deviations plus `skew` x the fast gain: scores near 1 have rare, large misses, which a normal threshold alone would
take for a fall. How the defaults were chosen: docs/decisions/0012.
"""

import math

import msgspec

from headrace.learning.fresh import pack, unpack


class DriftOptions(msgspec.Struct, frozen=True):
    """All rates are per example."""

    fast: float = 0.022
    """Gain of the fast average: it looks back about 1 / gain examples."""
    slow: float = 0.003
    rise: float = 3.0
    """The slow gain grows by this factor while the fast average is one standard deviation above the slow one: while the model
    improves, the slow average must not lag so far behind that a drop hides below it."""
    hold: float = 0.25
    """The slow gain shrinks by this factor while the fast average is below the slow one by a standard deviation, so that the slow
    average does not follow a drop before it is detected."""
    z: float = 3.7
    skew: float = 1.0
    warm_up: int = 200
    """Examples after the start, and after every alarm, during which nothing is reported."""


class _Averages(msgspec.Struct):
    count: int = 0
    fast: float = 0.0
    slow: float = 0.0
    square: float = 0.0
    """Slow average of score squared."""
    fast_weight: float = 0.0
    """Sum of the weights that the fast average has given so far: tends to 1."""
    slow_weight: float = 0.0
    fast_fast: float = 0.0
    """Sum of the squared weights."""
    slow_slow: float = 0.0
    fast_slow: float = 0.0


class _State(msgspec.Struct, frozen=True):
    averages: _Averages


class DriftDetector:
    """Fed with one score in [0, 1] per example, before the example is learned."""

    def __init__(self, options: DriftOptions | None = None) -> None:
        o = options or DriftOptions()
        if not 0 < o.slow < o.fast < 1:
            raise ValueError(f"gains must satisfy 0 < slow < fast < 1, not slow {o.slow} and fast {o.fast}")
        self._options = o
        self._averages = _Averages()

    @property
    def fast(self) -> float:
        """The fast average; 0 before the first score."""
        return self._averages.fast / (self._averages.fast_weight or 1.0)

    @property
    def slow(self) -> float:
        return self._averages.slow / (self._averages.slow_weight or 1.0)

    def update(self, score: float) -> bool:
        """Takes the next score; returns True once per drop: the averages restart after an alarm. ValueError outside [0, 1]."""
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"a score must be in [0, 1], not {score}")
        self._take(score)
        margin = self._options.z * self._deviation() + self._options.skew * self._options.fast
        alarm = self._averages.count > self._options.warm_up and self.slow - self.fast > margin
        if alarm:
            self.reset()
        return alarm

    def reset(self) -> None:
        """Forgets all scores: the next alarm comes after the warm-up at the earliest."""
        self._averages = _Averages()

    def _take(self, score: float) -> None:
        a = self._averages
        f, s = self._options.fast, self._slow_gain()
        a.count += 1
        a.fast += f * (score - a.fast)
        a.slow += s * (score - a.slow)
        a.square += s * (score * score - a.square)
        a.fast_weight += f * (1 - a.fast_weight)
        a.slow_weight += s * (1 - a.slow_weight)
        a.fast_fast = (1 - f) ** 2 * a.fast_fast + f * f
        a.slow_slow = (1 - s) ** 2 * a.slow_slow + s * s
        a.fast_slow = (1 - f) * (1 - s) * a.fast_slow + f * s

    def _slow_gain(self) -> float:
        o = self._options
        if self._averages.count < 1 / o.fast:
            return o.slow
        lead, deviation = self.fast - self.slow, self._deviation()
        if lead > deviation:
            return min(o.fast, o.slow * o.rise)
        return o.slow * o.hold if lead < -deviation and self._averages.count > o.warm_up else o.slow

    def _deviation(self) -> float:
        """Standard deviation of fast minus slow on a steady stream of these scores."""
        a = self._averages
        variance = max(0.0, a.square / a.slow_weight - self.slow**2)
        fast, slow = a.fast_weight, a.slow_weight
        share = a.fast_fast / fast**2 + a.slow_slow / slow**2 - 2 * a.fast_slow / (fast * slow)
        return math.sqrt(variance * max(0.0, share))

    def state(self) -> bytes:
        return pack(_State(self._averages))

    @classmethod
    def from_state(cls, data: bytes, options: DriftOptions | None = None) -> "DriftDetector":
        state = unpack(data, _State)
        detector = cls(options)
        detector._averages = state.averages
        return detector
