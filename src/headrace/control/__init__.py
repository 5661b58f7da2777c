"""observe → validate → plan → act → report: the store of applied resources, the roles' processes, the supervisor.

May import everything but doors.
"""
