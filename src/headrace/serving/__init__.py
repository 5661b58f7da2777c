"""Answers: engines that generate, batching, hot swap, OpenAI's shapes.

May import foundation, log, events, models; never another room. torch only inside `serving/transformers/`.
HTTP is in `doors/`; this room handles requests and tokens. It never waits for the log.
"""
