"""The page of what the engines support follows from the corpus."""

from pathlib import Path

from headrace.streams.functions import FUNCTIONS
from headrace.testing.corpus.corpus_query import FEATURES
from headrace.testing.corpus.differences import FLINK, Known
from headrace.testing.corpus.generated import generated_queries
from headrace.testing.corpus.matrix import page, render
from headrace.testing.corpus.queries import corpus

PAGE = Path(__file__).resolve().parents[2] / "docs" / "engines.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m headrace.testing.corpus.matrix docs/engines.md"


def test_every_query_has_a_name_of_its_own_and_a_known_feature() -> None:
    queries = [*corpus(), *generated_queries()]
    assert len({query.name for query in queries}) == len(queries) >= 90
    assert {query.feature for query in queries} == set(FEATURES)


def test_every_function_meets_nasty_values() -> None:
    text = " ".join(query.spec.sql for query in corpus() if query.name.startswith("readings: ")).upper()
    assert [name for name in FUNCTIONS if f"{name}(" not in text] == []


def test_a_difference_stands_on_the_page_with_its_reason() -> None:
    query = corpus()[0]
    text = render([query], {query.name: Known("refused", "it cannot")})
    assert f"| {query.feature} | 1 | all 1 | 0 equal, 1 refused |" in text
    assert f"| it cannot | refused | {query.name} |" in text


def test_the_table_of_differences_names_queries_of_the_corpus() -> None:
    assert set(FLINK) <= {query.name for query in (*corpus(), *generated_queries())}
