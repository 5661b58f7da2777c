"""How well passages are found: measures over ranked documents, and questions whose answers are known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace.knowledge.query import Hit, Mode
from headrace.knowledge.retriever import Retriever

PASSAGES_PER_DOCUMENT = 10
"""Passages that are asked for, per document wanted: the chunks of one document stand in each other's way."""


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """A question, and the documents that answer it."""

    text: str
    relevant: Mapping[str, float] = field(default_factory=dict[str, float])
    """By document id, how much each is worth: above 0, more is better."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over all questions with a relevant document, each in [0, 1]; 0 where there is no such question."""

    ndcg: float
    recall: float
    queries: int
    """How many questions had one."""
    each: tuple[float, ...] = ()
    """nDCG of each of them, in order: what paired comparisons need."""


def ndcg(ranked: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k documents, in [0, 1]; a repeated document counts once.

    Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", with the discount log2(rank + 1) and the
    gains as they are given. 0 where nothing is relevant.
    """
    best = _discounted(sorted(relevant.values(), reverse=True)[:k])
    if best == 0.0:
        return 0.0
    return _discounted([relevant.get(document, 0.0) for document in dict.fromkeys(ranked)][:k]) / best


def recall(ranked: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """The share of the relevant documents that is among the first k different ones; 0 where nothing is relevant.

    Manning, Raghavan & Schütze 2008, "Introduction to Information Retrieval", section 8.4.
    """
    wanted = {document for document, gain in relevant.items() if gain > 0}
    return len(wanted.intersection(list(dict.fromkeys(ranked))[:k])) / len(wanted) if wanted else 0.0


def documents_of(hits: Sequence[Hit]) -> list[str]:
    """The documents in the order of their best passages."""
    return list(dict.fromkeys(hit.document for hit in hits))


def judge(
    retriever: Retriever,
    golden: Sequence[GoldenQuery],
    k: int = 10,
    *,
    mode: Mode | None = None,
    generation: str | None = None,
) -> Quality:
    """Asks all the questions in one batch and measures the first k documents; whatever the retriever raises goes through."""
    asked = [one for one in golden if any(gain > 0 for gain in one.relevant.values())]
    found = retriever.search_many(
        [one.text for one in asked], limit=k * PASSAGES_PER_DOCUMENT, mode=mode, generation=generation, exact=True
    )
    ranked = [documents_of(one.hits) for one in found]
    each = [ndcg(documents, one.relevant, k) for documents, one in zip(ranked, asked, strict=True)]
    recalls = [recall(documents, one.relevant, k) for documents, one in zip(ranked, asked, strict=True)]
    return Quality(_mean(each), _mean(recalls), len(asked), tuple(each))


def agreement(old_hits: Sequence[Hit], new_hits: Sequence[Hit], k: int = 10) -> float:
    """The share of documents that two answers have in common among their first k, in [0, 1]; 1 where neither found any.

    By document, as generations cut chunks differently. The overlap at depth k of Webber, Moffat & Zobel 2010, "A similarity
    measure for indefinite rankings", divided by the longer answer.
    """
    old, new = set(documents_of(old_hits)[:k]), set(documents_of(new_hits)[:k])
    longer = max(len(old), len(new))
    return len(old & new) / longer if longer else 1.0


def _discounted(gains: Sequence[float]) -> float:
    return sum(max(0.0, gain) / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
