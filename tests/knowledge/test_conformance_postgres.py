"""The store on a real PostgreSQL does what every store must do."""

import pytest

from headrace.testing.knowledge_conformance import KnowledgeConformance
from headrace.testing.postgres_server import PostgresServer


class TestPostgresConformance(KnowledgeConformance):
    technology = "headrace.knowledge.postgres:open_store"

    @pytest.fixture
    def url(self, postgres: PostgresServer) -> str:
        return postgres.url()
