"""Stream SQL: one dialect, a logical plan, windows, watermarks, and engines behind a port.

May import foundation, log, events, models; never another room. An engine turns ordered input rows into ordered output
rows and keeps nothing that its snapshot does not say. duckdb is imported inside `streams/duckdb/` alone. No topics, no
offsets, no commits: `stages/transform` owns those.
"""
