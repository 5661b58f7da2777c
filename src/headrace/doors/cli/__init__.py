"""The command line: one file per group of commands.

Commands load, then render: loading returns typed data, rendering prints. stdout carries data, stderr the rest. Nothing heavy is
imported before a command needs it, so that `headrace --help` answers at once.
"""

from headrace.doors.cli.app import main

__all__ = ["main"]
