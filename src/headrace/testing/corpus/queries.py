"""The corpus: the queries of the engines' conformance suite, and more over nasty values and real trades."""

from collections.abc import Sequence
from typing import Literal

from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.function_queries import FUNCTION_QUERIES
from headrace.testing.corpus.readings import reading_batches, reading_spec
from headrace.testing.corpus.row_queries import ROW_QUERIES
from headrace.testing.corpus.trades import trade_queries
from headrace.testing.corpus.window_queries import WINDOW_QUERIES
from headrace.testing.engine_cases import CASES, Case, case_spec, corpus_batches

_WORDS = (
    ("FOR SYSTEM_TIME AS OF t.event_time AS q", "join with a stream"), ("JOIN ", "join with a table"), ("bars AS", "windows over windows"), ("rn = 1", "de-duplication"), ("rn <= 1", "de-duplication"),
    ("ROW_NUMBER", "top-N"), ("TUMBLE(", "TUMBLE"), ("HOP(", "HOP"), ("CUMULATE(", "CUMULATE"), ("SESSION(", "SESSION"), ("now()", "now()"), ("FROM source_stream", "functions"),
)  # fmt: skip


def corpus() -> Sequence[CorpusQuery]:
    """All of it; the real trades only where they are."""
    batches, readings = corpus_batches(), reading_batches()
    found = [CorpusQuery(case.name, _feature(case), case_spec(case.sql, case.timeline), batches) for case in CASES]
    for name, feature, sql in (*ROW_QUERIES, *FUNCTION_QUERIES, *WINDOW_QUERIES):
        timeline: Literal["arrival", "event"] = "event" if name == "the stream's own time" else "arrival"
        found.append(CorpusQuery(f"readings: {name}", feature, reading_spec(sql, timeline), readings))
    return [*found, *trade_queries()]


def _feature(case: Case) -> str:
    return next((feature for word, feature in _WORDS if word in case.sql), "rows")
