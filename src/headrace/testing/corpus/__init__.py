"""One corpus of queries and inputs for every engine: `queries` (what is run), `on_duckdb` and `on_jobs` (how), `differences` (what may differ)."""
