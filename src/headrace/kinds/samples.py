"""Looks at the first records of a bounded source, so that a schema that was left out is known while validating."""

from headrace.connectors.registry import open_source
from headrace.connectors.source import SourceContext, SourceOptions
from headrace.events.row_batch import RowBatch
from headrace.foundation.errors import HeadraceError

ROWS = 200
_CHEAP = frozenset({"file", "generator"})
"""Types whose first records can be read at no cost and without side effects."""


def sample(options: SourceOptions) -> RowBatch | None:
    """Up to 200 first rows; None where the type cannot be looked at, or nothing is there yet."""
    if options.type not in _CHEAP:
        return None
    try:
        source = open_source(options, SourceContext())
        source.open(None)
        try:
            return source.poll(ROWS, 0.0).rows
        finally:
            source.close()
    except HeadraceError:
        return None  # what is wrong with the source is its own condition, and no mistake of the query
