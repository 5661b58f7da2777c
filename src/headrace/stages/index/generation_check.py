"""Whether a new generation may take the old one's place: the same documents, and they are found as well."""

from collections.abc import Sequence

from headrace.foundation.errors import NotFoundError
from headrace.knowledge.analysis import terms
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, StoreQuery
from headrace.knowledge.revision import SINCE_EVER
from headrace.knowledge.store import KnowledgeStore, StoredDocument
from headrace.stages.embed.embedding import Embedders

GOLDEN = 48
"""Documents whose own titles, or first words, are asked for."""
DEPTH = 10
MAX_LOSS = 0.1
"""By which the share of them that are found may fall."""
_QUERY_WORDS = 12


def agree(store: KnowledgeStore, old: Generation, new: Generation, embedders: Embedders, now: AsOf) -> str:
    """'' where it may; else what differs, in words."""
    before, after = store.counts(old.id, now), store.counts(new.id, now)
    if before.documents != after.documents:
        return f"{new.id} holds {after.documents} documents where {old.id} holds {before.documents}"
    try:
        embedders.of(old.model)
    except NotFoundError:
        return ""  # nobody can ask the old one any more
    golden = sample(store, now)
    if not golden:
        return ""
    found_before = found_share(store, old, embedders, golden, now)
    found_after = found_share(store, new, embedders, golden, now)
    if found_after < found_before - MAX_LOSS:
        return f"{new.id} finds {found_after:.0%} of {len(golden)} documents by their own words, {old.id} {found_before:.0%}"
    return ""


def sample(store: KnowledgeStore, now: AsOf) -> list[StoredDocument]:
    """Documents spread evenly over everything that is visible, by the time of their last change."""
    there = [one.document for one in store.changed(AsOf(SINCE_EVER), now.at_ms) if not one.deleted]
    chosen = there[:: max(1, len(there) // GOLDEN)][:GOLDEN]
    found = [store.document(name, now) for name in chosen]
    return [document for document in found if document is not None and document.text.strip()]


def found_share(
    store: KnowledgeStore, generation: Generation, embedders: Embedders, golden: Sequence[StoredDocument], now: AsOf
) -> float:
    """Share of the documents that a question made of their own words finds among the first ten passages, by meaning."""
    questions = [question_of(document) for document in golden]
    vectors = embedders.of(generation.model).embed(questions)
    hits = 0
    for document, question, vector in zip(golden, questions, vectors, strict=True):
        query = StoreQuery(generation.id, now, "vector", DEPTH, vector, terms(question))
        hits += any(hit.document == document.document for hit in store.search(query))
    return hits / len(golden)


def question_of(document: StoredDocument) -> str:
    """Its title and first words."""
    return " ".join([document.title, *document.text.split()[:_QUERY_WORDS]]).strip()
