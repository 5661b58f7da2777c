"""A representative part of the corpus, for runs that cannot wait for all of it."""

from collections.abc import Iterable, Mapping

from headrace.testing.corpus.corpus_query import FEATURES, CorpusQuery
from headrace.testing.corpus.generated import generated_queries
from headrace.testing.corpus.queries import corpus

WITHOUT_STATE = ("rows", "functions", "now()")
"""Features that more than one instance cannot change."""


def sample(queries: Iterable[CorpusQuery], every: int) -> Mapping[str, CorpusQuery]:
    """Every so-manieth query of each feature, by name: the last of each first, because they are the nastiest."""
    known = [query for query in queries if query.batches]
    chosen = [[one for one in known if one.feature == feature][::-every] for feature in FEATURES]
    return {query.name: query for part in chosen for query in reversed(part)}


def sample_of_one(every: int = 4) -> Mapping[str, CorpusQuery]:
    """For jobs of one instance."""
    return sample((*corpus(), *generated_queries()), every)


def sample_of_two(every: int = 8) -> Mapping[str, CorpusQuery]:
    """For jobs of two instances: queries that keep state."""
    queries = (*corpus(), *generated_queries())
    return sample((query for query in queries if query.feature not in WITHOUT_STATE), every)
