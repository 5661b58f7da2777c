"""The store on PostgreSQL: its server's absence, its index, its own tables."""

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.foundation.errors import (
    CorruptDataError,
    InvalidDeclarationError,
    StateVersionError,
    UnavailableError,
)
from headrace.knowledge.filters import Condition
from headrace.knowledge.postgres import indexing, open_store, searching
from headrace.knowledge.postgres.encoding import (
    comparable,
    escaped,
    schema_name,
    text_array,
    unescaped,
    vector_bytes,
    vector_of,
)
from headrace.knowledge.postgres.postgres_store import PostgresStore
from headrace.knowledge.store import KnowledgeStore, StoreOptions
from headrace.testing.knowledge_conformance.builders import (
    GENERATION,
    all_documents,
    batch,
    found,
    put,
    question,
    revision,
    unit_vector,
)
from headrace.testing.postgres_server import PASSWORD, PostgresServer, postgres_server, skip_where_absent
from headrace.testing.resource_ids import knowledge_base_id

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text("\x00\x01\x02a", max_size=6)
_numbers = count()
pytestmark = pytest.mark.server
NewOptions = Callable[[], StoreOptions]


@pytest.fixture
def options(postgres: PostgresServer, tmp_path: Path) -> StoreOptions:
    return StoreOptions(knowledge_base_id(f"kb{next(_numbers)}", "own"), tmp_path, postgres.url())


@pytest.fixture
def store(options: StoreOptions) -> Generator[KnowledgeStore]:
    with closing(open_store(options)) as opened:
        yield opened


@pytest.fixture(scope="module")
def own_server() -> Generator[PostgresServer]:
    """A server that a test may break, and mends."""
    skip_where_absent()
    with postgres_server(durable=True) as server:
        yield server


def prepared(store: KnowledgeStore) -> int:
    epoch = store.acquire("writer")
    store.put_generation(epoch, GENERATION)
    return epoch


def schema_of(options: StoreOptions) -> str:
    return f'"{schema_name(options.id)}"'


# -- a server that is not as it should be


def test_a_server_that_is_down_is_told_and_the_store_opens_once_it_is_back(
    own_server: PostgresServer, tmp_path: Path
) -> None:
    options = StoreOptions(knowledge_base_id("down", "ns"), tmp_path, own_server.url())
    own_server.stop()
    with pytest.raises(UnavailableError, match="Check that the server is running") as told:
        open_store(options)
    assert PASSWORD not in str(told.value)

    own_server.start()
    with closing(open_store(options)) as store:
        put(store, prepared(store), revision("a", 1, "one"))
        assert all_documents(store) == {"a": "v1"}


@pytest.mark.parametrize("suddenly", [False, True])
def test_a_store_works_on_once_its_server_is_back(own_server: PostgresServer, tmp_path: Path, suddenly: bool) -> None:
    with closing(
        open_store(StoreOptions(knowledge_base_id(f"back{suddenly}", "ns"), tmp_path, own_server.url()))
    ) as store:
        epoch = prepared(store)
        put(store, epoch, revision("a", 1, "one"))

        own_server.stop(suddenly=suddenly)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                store.search(question("one"))
            with pytest.raises(UnavailableError):
                put(store, epoch, revision("a", 2, "two"))
        own_server.start()

        put(store, epoch, revision("a", 3, "three"))
        assert all_documents(store) == {"a": "v3"}


def test_connections_that_the_server_ended_are_replaced_without_a_word(
    postgres: PostgresServer, store: KnowledgeStore
) -> None:
    epoch = prepared(store)
    postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'headrace'")

    put(store, epoch, revision("a", 1, "one"))
    postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'headrace'")
    assert all_documents(store) == {"a": "v1"}


def test_a_wrong_password_is_final_and_not_repeated(postgres: PostgresServer, options: StoreOptions) -> None:
    with pytest.raises(InvalidDeclarationError, match="Check the user and password") as told:
        open_store(replace(options, url=postgres.url(password="not it")))
    assert "not it" not in str(told.value)
    assert "not%20it" not in str(told.value)


def test_a_database_that_is_not_there_is_named(postgres: PostgresServer, options: StoreOptions) -> None:
    with pytest.raises(InvalidDeclarationError, match="nowhere"):
        open_store(replace(options, url=postgres.url(database="nowhere")))


@pytest.mark.parametrize("url", ["", "mysql://h/d", "host=x"])
def test_a_url_of_something_else_is_refused(options: StoreOptions, url: str) -> None:
    with pytest.raises(InvalidDeclarationError, match="postgresql://USER"):
        open_store(replace(options, url=url))


def test_a_server_without_pgvector_is_told_what_to_install(tmp_path: Path) -> None:
    skip_where_absent()
    with postgres_server(settings={"extension_control_path": "/nonexistent"}) as server:
        with pytest.raises(InvalidDeclarationError, match=r"no pgvector.*CREATE EXTENSION vector"):
            open_store(StoreOptions(knowledge_base_id("kb", "ns"), tmp_path, server.url()))
        assert server.execute("select 1 from pg_namespace where nspname like 'headrace%'") == []


def test_a_pgvector_that_is_too_old_is_told(own_server: PostgresServer, tmp_path: Path) -> None:
    open_store(StoreOptions(knowledge_base_id("old", "ns"), tmp_path, own_server.url())).close()
    ((version,),) = own_server.execute("select extversion from pg_extension where extname = 'vector'")
    own_server.execute("update pg_extension set extversion = '0.7.4' where extname = 'vector'")

    with pytest.raises(InvalidDeclarationError, match=r"0\.7\.4.*ALTER EXTENSION vector UPDATE"):
        open_store(StoreOptions(knowledge_base_id("old", "ns"), tmp_path, own_server.url()))
    own_server.execute(f"update pg_extension set extversion = '{version}' where extname = 'vector'")


def test_a_user_who_may_not_create_a_schema_is_told(own_server: PostgresServer, tmp_path: Path) -> None:
    own_server.execute("create extension if not exists vector")
    own_server.execute("create role reader login password 'p'")
    url = own_server.url(password="p").replace("postgres:p@", "reader:p@")

    with pytest.raises(InvalidDeclarationError, match="Grant it CREATE"):
        open_store(StoreOptions(knowledge_base_id("kb", "ns"), tmp_path, url))


def test_a_full_pool_of_the_server_can_be_tried_again(tmp_path: Path) -> None:
    skip_where_absent()
    with postgres_server(settings={"max_connections": "4", "superuser_reserved_connections": "0"}) as server:
        options = StoreOptions(knowledge_base_id("kb", "ns"), tmp_path, server.url())
        with closing(open_store(options)):
            others = [open_store(replace(options, id=knowledge_base_id(f"kb{n}", "ns"))) for n in range(3)]
            with pytest.raises(UnavailableError):
                open_store(replace(options, id=knowledge_base_id("one too many", "ns")))
            for other in others:
                other.close()
            open_store(replace(options, id=knowledge_base_id("again", "ns"))).close()


def test_tables_of_a_newer_version_are_left_alone(
    postgres: PostgresServer, store: KnowledgeStore, options: StoreOptions
) -> None:
    postgres.execute(f"update {schema_of(options)}.about set schema_version = 99")

    with pytest.raises(StateVersionError, match="newer version"):
        open_store(options)


def test_a_schema_that_somebody_dropped_is_corrupt_data(
    postgres: PostgresServer, store: KnowledgeStore, options: StoreOptions
) -> None:
    prepared(store)
    postgres.execute(f"drop schema {schema_of(options)} cascade")

    with pytest.raises(CorruptDataError, match="Restore"):
        store.counts(GENERATION.id, question("x").as_of)


# -- schemas


def test_knowledge_bases_of_odd_names_share_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    names = ['"; drop schema public; --', "a.b", "A.b", "x" * 100, "x" * 101, "ä%s{}"]
    for n, name in enumerate(names):
        with closing(open_store(StoreOptions(knowledge_base_id(name, "odd"), tmp_path, postgres.url()))) as store:
            put(store, prepared(store), revision(f"d{n}", 1, "text"))
            assert all_documents(store) == {f"d{n}": "v1"}

    assert len({schema_name(knowledge_base_id(name, "odd")) for name in names}) == len(names)
    assert schema_name(knowledge_base_id("b.c", "a")) != schema_name(knowledge_base_id("c", "a.b"))
    with pytest.raises(InvalidDeclarationError):
        schema_name(knowledge_base_id("", "ns"))


def test_several_processes_may_open_a_new_knowledge_base_at_once(options: StoreOptions) -> None:
    opened: list[KnowledgeStore] = []
    errors: list[BaseException] = []

    def open_one() -> None:
        try:
            opened.append(open_store(options))
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for store in opened:
        store.close()
    assert (errors, len(opened)) == ([], 6)


def test_a_closed_store_answers_no_more(options: StoreOptions) -> None:
    store = open_store(options)
    store.close()
    store.close()
    with pytest.raises(UnavailableError, match="closed"):
        store.offset("t")


# -- the index


@pytest.fixture
def indexed(options: StoreOptions, monkeypatch: pytest.MonkeyPatch) -> Generator[tuple[PostgresStore, int]]:
    """400 documents, and the index over their vectors."""
    monkeypatch.setattr(indexing, "WORTHWHILE", 100)
    monkeypatch.setattr(searching, "SELECTIVE", 20)
    with closing(PostgresStore(options)) as store:
        epoch = prepared(store)
        revisions = (revision(f"d{n}", 1, f"text {n}", metadata={"n": n, "even": n % 2 == 0}) for n in range(400))
        store.apply(epoch, batch(*revisions))
        store.settle()
        yield store, epoch


def test_the_index_is_built_once_it_is_worthwhile_and_used(
    indexed: tuple[PostgresStore, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, epoch = indexed
    for n in range(0, 400, 7):
        exact = found(store.search(question(f"text {n}", mode="vector")))
        with monkeypatch.context() as only_the_index:
            only_the_index.delattr(searching, "_among_all")
            assert found(store.search(question(f"text {n}", mode="vector", exact=False))) == exact

    put(store, epoch, revision("d7", 2, "changed"), revision("d14", 2, None))
    assert found(store.search(question("changed", mode="vector", exact=False, limit=1))) == [("d7", "v2", 0)]
    assert ("d14", "v1", 0) not in found(store.search(question("text 14", mode="vector", exact=False)))


def test_the_index_finds_enough_behind_a_filter(indexed: tuple[PostgresStore, int]) -> None:
    store, _ = indexed
    for where in ((Condition("even", "eq", (True,)),), (Condition("n", "lt", (30,)),), (Condition("n", "eq", (399,)),)):
        exact, rough = (
            found(store.search(question("text 3", mode="vector", exact=e, where=where))) for e in (True, False)
        )
        assert rough == exact


def test_most_vectors_that_are_no_longer_visible_hide_none_that_are(indexed: tuple[PostgresStore, int]) -> None:
    store, epoch = indexed
    store.apply(epoch, batch(*(revision(f"d{n}", 2, None) for n in range(390))))

    hits = store.search(question("text 3", mode="vector", exact=False, limit=50))
    assert {hit.document for hit in hits} == {f"d{n}" for n in range(390, 400)}


def test_fresh_vectors_are_found_beside_the_index_and_settle_into_it(
    indexed: tuple[PostgresStore, int], monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer, options: StoreOptions
) -> None:
    store, epoch = indexed
    unsettled = f"select count(*) from {schema_of(options)}.vectors_1 where not settled"
    store.apply(epoch, batch(*(revision(f"new{n}", 1, f"new text {n}") for n in range(50))))

    def nearest(n: int) -> list[tuple[str, str, int]]:
        return found(store.search(question(f"new text {n}", mode="vector", exact=False, limit=1)))

    assert [nearest(n) for n in range(50)] == [[(f"new{n}", "v1", 0)] for n in range(50)]
    assert postgres.execute(unsettled) == [(50,)]
    monkeypatch.setattr(indexing, "FRESH", 10)
    store.settle()
    assert postgres.execute(unsettled) == [(0,)]
    assert [nearest(n) for n in range(50)] == [[(f"new{n}", "v1", 0)] for n in range(50)]


def test_an_index_whose_building_was_interrupted_is_built_anew(
    postgres: PostgresServer, indexed: tuple[PostgresStore, int], options: StoreOptions
) -> None:
    store, _ = indexed
    postgres.execute(
        f"update pg_index set indisvalid = false where indexrelid = '{schema_of(options)}.vectors_1_hnsw'::regclass"
    )
    expected = found(store.search(question("text 5", mode="vector")))
    assert found(store.search(question("text 5", mode="vector", exact=False))) == expected

    store.settle()
    valid = postgres.execute(
        f"select indisvalid from pg_index where indexrelid = '{schema_of(options)}.vectors_1_hnsw'::regclass"
    )
    assert valid == [(True,)]


# -- texts and numbers


@given(_TEXT, _TEXT)
@settings(max_examples=200, deadline=None, database=None)
def test_escaping_hides_nul_keeps_order_and_is_undone(one: str, other: str) -> None:
    assert "\x00" not in escaped(one)
    assert unescaped(escaped(one)) == one
    assert (escaped(one) < escaped(other)) == (one < other)


def test_what_a_vector_was_is_what_comes_back() -> None:
    vector = unit_vector("x")
    assert vector_of(vector_bytes(vector)).tolist() == vector.tolist()


def test_odd_terms_and_numbers_become_literals() -> None:
    assert text_array(['a"b', "c\\d", "{e}", ""]) == '{"a\\"b","c\\\\d","{e}",""}'
    assert comparable(float("nan")) == '{"nan": true}'
    assert comparable(float("-inf")).startswith("-1e")
    assert comparable(0.1).startswith("0.1000000000000000055")
