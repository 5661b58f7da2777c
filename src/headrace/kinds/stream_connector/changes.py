"""What changing a StreamConnector costs."""

from headrace.kinds.kind import Cost

COSTS: dict[str, Cost] = {
    "direction": "re-ingest",
    "type": "re-ingest",
    "schema": "re-ingest",
    "key": "re-ingest",
    "id": "re-ingest",
    "eventTime": "re-ingest",
    "eventTime.outOfOrderness": "re-run query",
    "eventTime.idleTimeout": "restart",
    "eventTime.maxAhead": "restart",
    "timeline": "re-ingest",
    "retention": "restart",
    "table": "re-run query",
    "input": "restart",
}


def of_block(variant: str) -> Cost:
    """A source's own options say what is read, a sink's only how it is written."""
    return "re-ingest" if variant.startswith("source/") else "restart"
