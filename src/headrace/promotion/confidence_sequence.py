"""A confidence sequence for the mean of bounded differences: an interval that stays valid under continuous monitoring.

Sources. Howard, Ramdas, McAuliffe, Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences",
Annals of Statistics 49(2), Theorem 4 (empirical Bernstein) with the discrete-mixture boundary of their section 3;
Choe and Ramdas (2023), "Comparing sequential forecasters", Operations Research, Theorem 2, for the reading of what is
estimated: the running mean of the conditional expectations, mu_t = (1/t) sum_i E[d_i | the past]. Nothing is assumed of
the stream but d_i in [-1, 1]: it may be autocorrelated and its mean may change.

Method. With x_i a guess of d_i made before it is seen, |x_i| <= h, the difference d_i - x_i is at least -c for c = 1 + h, and for
0 <= l < 1/c Fan's inequality exp(l y - psi(l) y^2) <= 1 + l y for y >= -c, psi(l) = (-log(1 - c l) - c l) / c^2, makes
    exp(l sum_i (d_i - mu_i) - psi(l) V_t),  V_t = sum_i (d_i - x_i)^2,
a supermartingale that starts at 1. So is its average over several l (the mixture), and Ville's inequality says that it ever
reaches 1/a with probability at most a. Theorem 4 takes any x_i in [-1, 1], hence c = 2; guesses kept within h = 1/4 give
c = 5/4 by the same proof, a narrower interval while rows are few. The upper side is the lower side of -d.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from headrace.events.decision import Bound

Floats = npt.NDArray[np.float64]

GUESS_LIMIT = 0.25
"""h: the plug-in mean is clipped to it."""
SCALE = 1.0 + GUESS_LIMIT
"""c of the sub-exponential boundary."""
LAMBDAS: Floats = np.geomspace(0.04, 0.78, 12)
"""The mixture's points, evenly weighted on a log scale: the best one is mean / variance of d, so this covers gaps from 0.01
at a variance of 0.25 to 0.5 at 0.6. Fewer would leave holes; more dilute the weights."""
PSI: Floats = (-np.log1p(-SCALE * LAMBDAS) - SCALE * LAMBDAS) / SCALE**2


def log_evidence(total: npt.ArrayLike, variance: npt.ArrayLike) -> Floats:
    """Log of the mixture supermartingale at the sum of (d - mean) and V: log(1/alpha) and above says that mean is too low.

    Shapes broadcast; equals 0 at (0, 0), grows with `total`.
    """
    sums, variances = np.asarray(total, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    exponents = sums[..., None] * LAMBDAS - variances[..., None] * PSI
    top = exponents.max(axis=-1)
    return top + np.log(np.exp(exponents - top[..., None]).mean(axis=-1))


def boundary(variance: npt.ArrayLike, alpha: float) -> Floats:
    """The sum of (d - mean) that V ever reaches with probability at most alpha: the inverse of `log_evidence`. Same shape as V."""
    variances = np.asarray(variance, dtype=np.float64)
    level = math.log(1 / alpha)
    low = np.zeros_like(variances)
    high = ((level + math.log(len(LAMBDAS)) + variances[..., None] * PSI) / LAMBDAS).min(axis=-1)
    while np.max(high - low, initial=0.0) > 1e-9 * (1.0 + np.max(high, initial=0.0)):
        middle = (low + high) / 2
        crossed = log_evidence(middle, variances) >= level
        low, high = np.where(crossed, low, middle), np.where(crossed, middle, high)
    return high


class ConfidenceSequence(msgspec.Struct):
    """Running sums, stored in a checkpoint unchanged."""

    alpha: float
    """Two-sided: each side ever fails with probability at most alpha / 2."""
    rows: int = 0
    total: float = 0.0
    variance: float = 0.0
    """V: squared distances from the guesses."""

    def update(self, difference: float) -> None:
        """Takes the next row's d. ValueError if it is not in [-1, 1] (or not a number): the bound would be meaningless."""
        if not -1.0 <= difference <= 1.0:
            raise ValueError(f"a difference must be in [-1, 1], not {difference}")
        guess = min(GUESS_LIMIT, max(-GUESS_LIMIT, self.total / (self.rows + 1)))
        self.variance += (difference - guess) ** 2
        self.total += difference
        self.rows += 1

    def update_all(self, differences: Sequence[float] | Floats) -> None:
        """The same for many rows at once: sums over an array of shape [n] instead of n calls."""
        d = np.asarray(differences, dtype=np.float64)
        if not (np.abs(d) <= 1.0).all():
            raise ValueError("a difference must be in [-1, 1]")
        totals = self.total + np.concatenate(([0.0], np.cumsum(d)))
        guesses = np.clip(totals[:-1] / (self.rows + 1 + np.arange(len(d))), -GUESS_LIMIT, GUESS_LIMIT)
        self.variance += float(((d - guesses) ** 2).sum())
        self.total = float(totals[-1])
        self.rows += len(d)

    def above(self, mean: float) -> bool:
        """Whether the lower bound is now above `mean`; cheaper than `bound`."""
        evidence = log_evidence(self.total - self.rows * mean, self.variance)
        return self.rows > 0 and float(evidence) >= math.log(2 / self.alpha)

    def bound(self) -> Bound:
        """Mean and interval, within [-1, 1]."""
        if not self.rows:
            return Bound(mean=0.0, lower=-1.0, upper=1.0, rows=0, alpha=self.alpha)
        mean = self.total / self.rows
        radius = float(boundary(self.variance, self.alpha / 2)) / self.rows
        return Bound(mean, max(-1.0, mean - radius), min(1.0, mean + radius), self.rows, self.alpha)


def paths(differences: Floats) -> tuple[Floats, Floats]:
    """Sums and V after every row of many streams at once: [streams, rows] to two of the same shape. For simulations."""
    totals = np.cumsum(differences, axis=1)
    before = np.concatenate((np.zeros((len(totals), 1)), totals[:, :-1]), axis=1)
    guesses = np.clip(before / np.arange(1, differences.shape[1] + 1), -GUESS_LIMIT, GUESS_LIMIT)
    return totals, np.cumsum((differences - guesses) ** 2, axis=1)


def first_win(differences: Floats, alpha: float) -> npt.NDArray[np.int64]:
    """The row (from 1) at which each stream's one-sided lower bound is first above 0; 0 if it never is.

    Shape [streams, rows] to [streams]. The boundary is interpolated between points of V that are 1/8 apart, from below.
    """
    totals, variances = paths(differences)
    grid = np.arange(0.0, float(variances.max()) + 0.25, 0.125)
    won = totals >= np.interp(variances, grid, boundary(grid, alpha))
    return np.where(won.any(axis=1), won.argmax(axis=1) + 1, 0)
