"""`score/1`: each of a finetuner's models' results on an example, before it is learned."""

import msgspec


class ModelScore(msgspec.Struct, frozen=True):
    """One model on one example, under teacher forcing."""

    model: str
    """learner, served, previous, candidate or base"""
    version: str
    """`vN`, `candidate-N`; empty for the learner"""
    exact: bool
    """Whether the argmax equals the answer at every position, end token included."""
    loss: float
    """Negative log-likelihood per answer token, nats."""
    metric: float
    """The finetuner's metric in [0, 1]; higher is better."""


class Score(msgspec.Struct, frozen=True):
    """Record id and key: the example's id."""

    example_id: str
    row_id: str
    offset: int
    """The example's offset in its topic."""
    answer: str
    majority_exact: bool
    """Whether always giving the most frequent answer so far would have been right."""
    models: list[ModelScore]
    anchor: bool = False
    """Whether it is held out: scored, never learned."""
