"""A real PostgreSQL for the tests of knowledge."""

from collections.abc import Generator

import pytest

from headrace.testing.postgres_server import PostgresServer, postgres_server, skip_where_absent

pytest.register_assert_rewrite("headrace.testing.knowledge_conformance")


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer]:
    """One server for all tests: a test that stops it starts it again."""
    skip_where_absent()
    with postgres_server() as server:
        yield server
