"""What changing a KnowledgeBase costs."""

from headrace.kinds.kind import Cost

COSTS: dict[str, Cost] = {
    "embeddingModel": "re-embed",
    "dataSource": "re-embed",
    "document": "re-embed",
    "document.metadata": "restart",
    "document.operation": "restart",
    "chunking": "re-embed",
    "retrieval": "none",
    "freshness": "restart",
}
