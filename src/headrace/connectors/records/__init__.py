"""Raw records into typed, clean rows: what every source does alike, whatever brought the bytes.

May import foundation, log, events and the port; pyarrow, numpy, msgspec and csv. Knows text, types and the checks of a
source's declaration; no files, no network, no topics.
"""
