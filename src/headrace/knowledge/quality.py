"""Retrieval quality: measures over ranked documents, and questions with known answers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace.knowledge.query import Hit, Mode
from headrace.knowledge.retriever import Retriever

PASSAGES_PER_DOCUMENT = 10
"""Passages requested per document: the chunks of one document compete with each other."""


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """A question, and the documents that answer it."""

    text: str
    relevant: Mapping[str, float] = field(default_factory=dict[str, float])
    """By document id, its relevance: above 0, more is better."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over all questions with a relevant document, each in [0, 1]; 0 if there is no such question."""

    ndcg: float
    recall: float
    queries: int
    """How many questions had a relevant document."""
    each: tuple[float, ...] = ()
    """nDCG of each question, in order: for paired comparisons."""


def ndcg(ranked: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k documents, in [0, 1]; a repeated document counts once.

    Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", with the discount log2(rank + 1) and the
    gains as given. 0 if nothing is relevant.
    """
    best = _discounted(sorted(relevant.values(), reverse=True)[:k])
    if best == 0.0:
        return 0.0
    return _discounted([relevant.get(document, 0.0) for document in dict.fromkeys(ranked)][:k]) / best


def recall(ranked: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """The fraction of the relevant documents among the first k distinct ones; 0 if nothing is relevant.

    Manning, Raghavan & Schütze 2008, "Introduction to Information Retrieval", section 8.4.
    """
    wanted = {document for document, gain in relevant.items() if gain > 0}
    return len(wanted.intersection(list(dict.fromkeys(ranked))[:k])) / len(wanted) if wanted else 0.0


def documents_of(hits: Sequence[Hit]) -> list[str]:
    """The documents in order of their best passages."""
    return list(dict.fromkeys(hit.document for hit in hits))


def judge(
    retriever: Retriever,
    golden: Sequence[GoldenQuery],
    k: int = 10,
    *,
    mode: Mode | None = None,
    generation: str | None = None,
) -> Quality:
    """Asks all questions in one batch and measures the first k documents; the retriever's errors pass through."""
    asked = [one for one in golden if any(gain > 0 for gain in one.relevant.values())]
    found = retriever.search_many(
        [one.text for one in asked], limit=k * PASSAGES_PER_DOCUMENT, mode=mode, generation=generation, exact=True
    )
    ranked = [documents_of(one.hits) for one in found]
    each = [ndcg(documents, one.relevant, k) for documents, one in zip(ranked, asked, strict=True)]
    recalls = [recall(documents, one.relevant, k) for documents, one in zip(ranked, asked, strict=True)]
    return Quality(_mean(each), _mean(recalls), len(asked), tuple(each))


def agreement(old_hits: Sequence[Hit], new_hits: Sequence[Hit], k: int = 10) -> float:
    """The fraction of documents that two results share among their first k, in [0, 1]; 1 if neither found any.

    By document, because generations chunk differently. The overlap at depth k of Webber, Moffat & Zobel 2010, "A similarity
    measure for indefinite rankings", divided by the longer answer.
    """
    old, new = set(documents_of(old_hits)[:k]), set(documents_of(new_hits)[:k])
    longer = max(len(old), len(new))
    return len(old & new) / longer if longer else 1.0


def _discounted(gains: Sequence[float]) -> float:
    return sum(max(0.0, gain) / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
