"""Where events come from and where results go.

May import foundation, log, events, models; never another room. A source turns external bytes into typed, clean
`RowBatch`es and dead letters; a sink writes records out. One folder per technology, found by entry point
(`headrace.sources`, `headrace.sinks`). No watermarks, no SQL, no commits: stages own those.
"""
