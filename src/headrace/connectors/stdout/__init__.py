"""The standard output as a sink: one JSON object a line.

May import foundation, log, events and the ports.
"""
