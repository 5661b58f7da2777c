"""Files: JSON lines, CSV and Parquet, plain or gzipped, read from disk and written to it.

May import foundation, log, events, the ports and `connectors.records`. Knows no networks and no topics.
"""
