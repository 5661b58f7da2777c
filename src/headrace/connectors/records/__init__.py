"""Raw records into typed, clean rows: shared by all sources, whatever the transport.

May import foundation, log, events and the port; pyarrow, numpy, msgspec and csv. Knows text, types and the checks in a
source's declaration; no files, no network, no topics.
"""
