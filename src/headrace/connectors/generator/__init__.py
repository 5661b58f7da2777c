"""Synthetic events: each row is a pure function of the seed and its number.

May import foundation, log, events, the ports and `connectors.records`; numpy.
"""
