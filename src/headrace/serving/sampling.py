"""Chooses the next token: greedy or random, the same for every engine, repeatable by seed."""

import secrets
from typing import cast

import numpy as np
from numpy.typing import NDArray

from headrace.serving.generation import GenerationRequest, TokenLogprob


class Sampler:
    """One request's sampler. With a seed, equal logits give equal tokens, whatever else is in the batch."""

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._random = np.random.default_rng(request.seed if request.seed is not None else secrets.randbits(64))
        self._bias_ids = np.array(list(request.logit_bias), np.intp)
        self._bias = np.array(list(request.logit_bias.values()), np.float32)

    @property
    def plain(self) -> bool:
        """Whether only the argmax of the logits is needed."""
        request = self._request
        return request.temperature == 0 and request.top_logprobs is None and not request.logit_bias

    def choose(self, logits: NDArray[np.float32]) -> tuple[int, TokenLogprob | None]:
        """The token, and its log-probability if requested; `logits` [vocabulary] is not changed."""
        if len(self._bias_ids):
            logits = logits.copy()
            logits[self._bias_ids] += self._bias
        token = int(logits.argmax()) if self._request.temperature == 0 else self._draw(logits)
        if self._request.top_logprobs is None:
            return token, None
        return token, _logprob(logits, token, self._request.top_logprobs)

    def _draw(self, logits: NDArray[np.float32]) -> int:
        """Samples softmax(logits / temperature), restricted to the smallest set of likeliest tokens with mass `top_p` (Holtzman et al. 2020)."""
        scaled = logits.astype(np.float64) / self._request.temperature
        weights = np.exp(scaled - scaled.max())
        if self._request.top_p < 1:
            order = np.argsort(-weights, kind="stable")
            before = np.cumsum(weights[order]) - weights[order]
            weights[order[before >= self._request.top_p * weights.sum()][: len(order) - 1]] = 0
        cumulative = np.cumsum(weights)
        drawn = int(np.searchsorted(cumulative, self._random.random() * cumulative[-1], side="right"))
        return min(drawn, int(np.flatnonzero(weights)[-1]))


def _logprob(logits: NDArray[np.float32], token: int, top: int) -> TokenLogprob:
    """Log-probabilities at temperature 1, in nats; alternatives by falling probability, then by id."""
    values = logits.astype(np.float64)
    values -= values.max()
    values -= np.log(np.exp(values).sum())
    best = np.argsort(-values, kind="stable")[:top] if top else np.empty(0, np.intp)
    return TokenLogprob(
        id=token,
        logprob=float(values[token]),
        top=tuple((rival, float(values[rival])) for rival in cast("list[int]", best.tolist())),
    )
