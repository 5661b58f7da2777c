"""ingest: a source → `connector.events`."""
