"""Made-up events: each row a pure function of the seed and its number.

May import foundation, log, events, the ports and `connectors.records`; numpy.
"""
