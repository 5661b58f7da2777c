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
