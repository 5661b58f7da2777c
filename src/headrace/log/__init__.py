"""The log: topics, records, transactions, leases, state, retention.

May import foundation. Handles bytes, never their meaning: payloads belong to `events/`. The port is
`topic_log.TopicLog`; every back end is a folder beside it that passes `headrace.testing.log_conformance`.
"""
