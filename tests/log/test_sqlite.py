"""The log on SQLite: the port's conformance, and what is SQLite's own."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from headrace.log.sqlite.topic_log import SqliteTopicLog
from headrace.log.topic_log import TopicLog
from headrace.testing.log_conformance import LogConformance


class TestSqliteConformance(LogConformance):
    technology = "sqlite"

    def disk_usage(self, state: Path) -> int:
        return sum(path.stat().st_size for path in state.iterdir())

    def full_disk(self, log: TopicLog) -> AbstractContextManager[None]:
        return no_more_pages(log)


@contextmanager
def no_more_pages(log: TopicLog) -> Generator[None]:
    """SQLite itself refuses to grow the file beyond what it has, as on a full disk."""
    assert isinstance(log, SqliteTopicLog)
    connection = log._writer.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    yield
    connection.execute("PRAGMA max_page_count=1073741823")
