"""Large models that provide the labels: providers behind a port, with cache, budget and rate limits in front.

May import foundation, log, events, models; never another room. One file per provider, found by entry point
(`headrace.teachers`); each imports its official SDK only when opened. Keys never appear in a message, a log or an error.
"""
