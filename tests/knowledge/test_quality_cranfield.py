"""Keywords find what they should among real documents."""

import json
from pathlib import Path

import pytest

from headrace.knowledge.chunking import ChunkOptions, chunk
from headrace.knowledge.generation import Generation
from headrace.knowledge.quality import GoldenQuery, judge
from headrace.knowledge.registry import open_store
from headrace.knowledge.retriever import Retriever
from headrace.knowledge.revision import DocumentChange, Revision
from headrace.knowledge.store import StoreBatch, StoreOptions
from headrace.testing.resource_ids import knowledge_base_id
from headrace.testing.word_embedder import WordEmbedder


@pytest.mark.slow
def test_keywords_find_cranfields_documents(shared_data: Path, tmp_path: Path) -> None:
    def read(name: str) -> list[dict[str, str]]:
        with (shared_data / "search" / f"cranfield-{name}.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    embedder = WordEmbedder(8)
    everywhere = embedder.embed(["any"])[0]
    generation = Generation(embedder.fingerprint, embedder.dimension, "{}", "active")
    revisions: list[Revision] = []
    for one in read("docs"):
        change = DocumentChange(one["doc_id"], "v1", "1", False, one["text"], 1, 1, one["title"])
        cut = chunk(one["text"], "plain", one["title"], ChunkOptions(150), embedder)
        revisions.append(Revision(change, {generation.id: cut}))
    hashes = {piece.hash: everywhere for one in revisions for piece in one.chunks[generation.id]}
    relevant: dict[str, dict[str, float]] = {}
    for one in read("qrels"):
        relevant.setdefault(one["query_id"], {})[one["doc_id"]] = 5.0 - float(one["position"])
    golden = [GoldenQuery(one["query"], relevant[one["query_id"]]) for one in read("queries")]
    store = open_store("sqlite", StoreOptions(knowledge_base_id("cranfield", "tests"), tmp_path))
    try:
        epoch = store.acquire("test")
        store.put_generation(epoch, generation)
        store.apply(epoch, StoreBatch(revisions, vectors={generation.model: hashes}))
        found = judge(Retriever(store, lambda _: embedder), golden, mode="keyword")
    finally:
        store.close()

    assert found.queries == 113
    assert found.ndcg >= 0.49
    assert found.recall >= 0.42
