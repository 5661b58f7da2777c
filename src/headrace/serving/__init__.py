"""Answers: engines that generate, batching, hot swap, OpenAI's shapes.

May import foundation, log, events, models; never another room. torch only inside `serving/transformers/`,
inside its own file. HTTP is in `doors/`; this room knows requests and tokens. Never waits for the log.
"""
