"""StreamConnector: a source or a sink of rows.

May import kinds' own files, the connectors' registry and stages' options. Never opens a connection.
"""
