"""What changing a KnowledgeBase does."""

from headrace.kinds.verdict import AT_ONCE, NEW_GENERATION, NEXT_RECORD, RESETS, Verdict

_READ = NEXT_RECORD.saying("Acts on documents that arrive from now on. Stored documents stay as they are.")
_RESET = RESETS["knowledge"]
VERDICTS: dict[str, Verdict] = {
    "embeddingModel": NEW_GENERATION,
    "dataSource.sourceStreamConnector": _RESET.saying(
        "Documents of the previous source would remain beside the new ones."
    ),
    "document.id": _RESET.saying("Stored documents would keep their old ids, and no change would reach them."),
    "document.text": _READ,
    "document.title": _READ,
    "document.metadata": _READ,
    "document.version": _RESET.saying("Versions from the two columns cannot be compared."),
    "document.validFrom": _READ,
    "document.operation": _READ,
    "document.media": _READ,
    "chunking.maxTokens": NEW_GENERATION,
    "chunking.overlap": NEW_GENERATION,
    "retrieval.mode": AT_ONCE,
    "retrieval.limit": AT_ONCE,
    "freshness.target": AT_ONCE,
    "freshness.history": AT_ONCE,
}
