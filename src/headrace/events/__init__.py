"""Every payload that travels between stages: frozen, versioned, one file each.

May import foundation and log, msgspec and pyarrow. Holds shapes and their encoding; no stage's logic, no I/O.
`codec.py` names the kinds (`row/1`, `example/1` …) and decodes old versions upwards.
"""
