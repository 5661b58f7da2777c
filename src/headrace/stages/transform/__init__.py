"""transform: `events` → `rows`, by a stream query, in this process or as a job on a cluster."""
