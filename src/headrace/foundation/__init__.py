"""Errors, clock, ids, quantities, settings, failpoints, SQLite files.

May import the standard library alone. No word of the domain (topic, row, model …) belongs here.
"""
