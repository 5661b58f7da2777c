"""HTTP: events pushed to this machine, and results sent to another server.

May import foundation, log, events, the ports and `connectors.records`; httpx in `sink.py` only. The endpoint itself is
`doors/push.py`: this package holds what it accepts, and the source that reads it from the inbox topic.
"""
