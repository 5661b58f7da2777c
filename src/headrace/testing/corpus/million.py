"""One query that holds a million keys at once."""

import pyarrow as pa

from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.streams.stream_engine import QuerySpec, StreamInput
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.readings import SPRING

KEYS = 1_000_000
_SCHEMA = RowSchema((Column("event_time", "TIMESTAMP_LTZ(3)"), Column("key", "STRING"), Column("n", "INT")))
_SQL = (
    "SELECT window_end, key, COUNT(*) AS c, SUM(n) AS s FROM TABLE(TUMBLE(TABLE many, DESCRIPTOR(event_time), INTERVAL '1' HOUR)) "
    "GROUP BY window_start, window_end, key"
)


def million_query(keys: int = KEYS) -> CorpusQuery:
    """Each key once in one hour, every tenth twice."""
    numbers = [*range(keys), *range(0, keys, 10)]
    times = pa.array([SPRING + number % 3_600_000 for number in range(len(numbers))], pa.int64())
    texts = pa.array([f"k{number}" for number in numbers], pa.string())
    schema = _SCHEMA.to_arrow()
    table = pa.table(
        [times.cast(schema.types[0]), texts, pa.array([number % 1_000 for number in numbers], pa.int32())],
        schema=schema,
    )
    places = pa.array(range(len(numbers)), pa.int64())
    ids, none = (
        pa.array([f"m{number}" for number in range(len(numbers))], pa.string()),
        pa.array(["{}"] * len(numbers), pa.string()),
    )
    batch = RowBatch(table, _SCHEMA, ids, pa.array([""] * len(numbers), pa.string()), times, times, none, places)
    spec = QuerySpec(_SQL, [StreamInput("many", _SCHEMA, "default.many.events", "event_time", 3_600_000)])
    return CorpusQuery("a million keys at once", "TUMBLE", spec, {"many": batch})
