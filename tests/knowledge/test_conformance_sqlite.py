"""The embedded store does what every store must do."""

from headrace.testing.knowledge_conformance import KnowledgeConformance


class TestSqliteConformance(KnowledgeConformance):
    technology = "headrace.knowledge.sqlite:open_store"
