"""Standard output as a sink: one JSON object per line.

May import foundation, log, events and the ports.
"""
