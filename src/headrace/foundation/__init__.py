"""Errors, clock, ids, quantities, settings, failpoints, SQLite files.

May import only the standard library. No domain terms (topic, row, model …) belong here.
"""
