"""How many rows of a source its topic holds, and how many were there already.

The log says only after a commit how many ids it knew. A process that dies right then has counted them as rows; the next one
counts again what the topic holds from the start of the last commits on.
"""

from dataclasses import dataclass

from headrace.events import codec
from headrace.log.topic_log import CommitResult, TopicLog


@dataclass(slots=True)
class RowCount:
    """The figures of one source, which is the only writer of its topic."""

    rows: int
    """In the topic."""
    duplicates: int
    """Read from the source and left out, because the topic has their id."""
    since: int
    """An offset of the topic, not behind the last commit; −1: not known."""
    before: int
    """Rows in front of `since`."""

    def recount(self, log: TopicLog, topic: str, connector: str) -> None:
        """Puts right what a commit before the last restart counted too many. Retention may have taken what would tell."""
        info = log.topic(topic)
        if self.since >= info.start_offset:
            found = self.before + _rows(log, topic, self.since, connector)
            self.rows, self.duplicates = found, self.duplicates + self.rows - found
        self.since, self.before = info.end_offset, self.rows

    def committed(self, topic: str, given: int, result: CommitResult) -> None:
        """Takes in a commit with `given` rows for the topic."""
        repeated = result.duplicates.get(topic, 0)
        self.since, self.before = result.first_offsets.get(topic, self.since), self.rows
        self.rows += given - repeated
        self.duplicates += repeated


def _rows(log: TopicLog, topic: str, offset: int, connector: str) -> int:
    """From `offset` on; those that `headrace replay` sent again, which do not begin with the connector's name, are left out."""
    found = 0
    while records := log.read(topic, offset):
        found += sum(record.kind != codec.CONTROL and record.id.startswith(f"{connector}:") for record in records)
        offset = records[-1].offset + 1
    return found
