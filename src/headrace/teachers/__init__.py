"""Large models that give the answers: providers behind a port; cache, budget and limits in front of it.

May import foundation, log, events, models; never another room. One file per provider, found by entry point
(`headrace.teachers`); each imports its official SDK inside itself. Keys never reach a message, a log or an error.
"""
