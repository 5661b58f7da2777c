"""Headrace: live event streams to small models, their knowledge and their users' profiles.

Purpose: the package's front. Imports nothing heavy: `import headrace` loads neither torch nor a client.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
