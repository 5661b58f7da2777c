"""Writes the page of what each engine supports: `python -m headrace.testing.corpus.matrix docs/engines.md`.

It follows from the corpus and the table of differences alone; that both are true is what the corpus's tests hold.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from headrace.testing.corpus.corpus_query import FEATURES, CorpusQuery
from headrace.testing.corpus.differences import FLINK, Kind, Known
from headrace.testing.corpus.generated import generated_queries
from headrace.testing.corpus.queries import corpus

_HEAD = """# What the engines support

`streams = "duckdb"` runs a query in Headrace's own process, `streams = "flink"` as a job of a Flink cluster. The dialect is one ([sql.md](sql.md)),
and so are the answers: a corpus of {count} queries runs on both, over nasty values, late and shuffled rows, real trades and rows
generated at random, and every row must be equal – id, key, event time, arrival, origin and each value, as a multiset per window – and so must the late
rows, with one job instance and with two. Differences are listed here, query by query; a listed query that turns out equal fails its test.

<!-- made by `python -m headrace.testing.corpus.matrix docs/engines.md` from the corpus and its table of differences -->

| asked for | queries | in the process (DuckDB) | on Flink |
| --- | ---: | --- | --- |
"""
_WORDS: Mapping[Kind, str] = {"refused": "refused", "late": "other late rows", "differs": "differs", "fails": "fails"}
_MORE = """
On Flink, rows appear when a checkpoint completes (`checkpointingInterval`), and rows of one window come in any order. In the process, rows come
at once and in order. Everything that decides a value – `FIRST_VALUE`, `LISTAGG`, ranks, sums of DOUBLE, which row is late – follows event time and
the order of the input on both. One sign differs: in the process, an idle input of a join says until which arrival other rows need not wait for it; on
Flink it moves the input's watermark to the wall clock, and rows after an end of input are late in a join.

Headrace refuses what Flink would compute differently when it checks the query, and names the form that works: a DOUBLE as text, the
remainder of a DOUBLE, TRUNCATE of a DOUBLE to digits, joins by a DOUBLE, sums of DOUBLE, lists and deviations over a SESSION or over windows that cover
each other more than 64 times, arithmetic with deviations and percentiles, ranks over a SESSION, a SESSION that is grouped by other columns than
its own, months between two times, look-around and groups in regular expressions, paths into JSON that are not constant or not plain, conversions of
BYTES, TIME, DECIMAL(38, 38), and windows of more than 999 days.
"""


def render(queries: Sequence[CorpusQuery], known: Mapping[str, Known]) -> str:
    """The page, in Markdown."""
    lines = [_line(feature, [one for one in queries if one.feature == feature], known) for feature in FEATURES]
    lines.append(_line("all", queries, known))
    return "\n".join(
        [
            _HEAD.format(count=len(queries)) + "\n".join(lines),
            _MORE,
            "## What differs",
            "",
            *_differences(queries, known),
            "",
        ]
    )


def page() -> str:
    """As the documentation has it."""
    return render([*corpus(), *generated_queries()], FLINK)


def _line(feature: str, queries: Sequence[CorpusQuery], known: Mapping[str, Known]) -> str:
    kinds = [known[one.name].kind for one in queries if one.name in known]
    rest = [f"{kinds.count(kind)} {word}" for kind, word in _WORDS.items() if kind in kinds]
    equal = f"all {len(queries)}" if not kinds else ", ".join([f"{len(queries) - len(kinds)} equal", *rest])
    return f"| {feature.replace('|', chr(92) + '|')} | {len(queries)} | all {len(queries)} | {equal} |"


def _differences(queries: Iterable[CorpusQuery], known: Mapping[str, Known]) -> list[str]:
    """Reason by reason, each with its queries."""
    by_reason: dict[Known, list[str]] = {}
    for query in queries:
        if query.name in known:
            by_reason.setdefault(known[query.name], []).append(query.name)
    if not by_reason:
        return ["Nothing."]
    rows = [f"| {one.reason} | {_WORDS[one.kind]} | {'; '.join(names)} |" for one, names in by_reason.items()]
    return ["| what | on Flink | queries |", "| --- | --- | --- |", *rows]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), "utf-8")
