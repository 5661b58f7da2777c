"""One query of the corpus, with what goes in."""

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.events.row_batch import RowBatch
from headrace.streams.stream_engine import QuerySpec

FEATURES = (
    "rows", "functions", "now()", "join with a table", "join with a stream", "TUMBLE", "HOP", "CUMULATE", "SESSION",
    "windows over windows", "de-duplication", "top-N", "real trades", "generated rows",
)  # fmt: skip
"""What the table of what is supported has a line for."""


@dataclass(frozen=True, slots=True)
class CorpusQuery:
    """A query, the rows of its inputs in order of arrival, and what it shows."""

    name: str
    """Says what is asked; unique."""
    feature: str
    """One of FEATURES."""
    spec: QuerySpec
    batches: Mapping[str, RowBatch]
    """Every input of the query at least; queries over the same rows share the object. Empty: the data are not here."""
