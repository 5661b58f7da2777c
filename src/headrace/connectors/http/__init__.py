"""HTTP: events that are pushed at a door of this machine, and results that are sent to somebody else's.

May import foundation, log, events, the ports and `connectors.records`; httpx in `sink.py` alone. The door itself is
`doors/push.py`: here is what it takes in, and the source that reads it from the inbox topic.
"""
