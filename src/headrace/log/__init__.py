"""The log: topics, records, transactions, leases, state, retention.

May import foundation. Knows bytes, never what they mean: payloads are the room `events/`. The port is
`topic_log.TopicLog`; every back end is a folder beside it and passes `headrace.testing.log_conformance`.
"""
