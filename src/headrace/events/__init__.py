"""Every payload that travels between stages: frozen, versioned, one file each.

May import foundation and log, msgspec and pyarrow. Contains only the payload types and their encoding: no stage logic, no I/O.
`codec.py` names the kinds (`row/1`, `example/1` …) and upgrades old versions when decoding.
"""
