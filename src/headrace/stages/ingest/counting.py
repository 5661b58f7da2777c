"""How many rows of a source its topic holds, and how many were there already.

The log says only after a commit how many ids it knew. A process that dies right then has counted them as rows; the next one
counts again what the topic holds from the start of the last commits on.
"""

from dataclasses import dataclass

from headrace.events import codec
from headrace.log.record import Record
from headrace.log.topic_log import CommitResult, TopicInfo, TopicLog


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

    def recount(self, log: TopicLog, topic: str, connector: str, now_ms: int) -> None:
        """Puts right what a commit before the last restart counted too many. Retention may have taken what would tell."""
        info = log.topic(topic)
        if self.since >= info.start_offset and not _has_gaps(log, info, self.since, now_ms):
            found = self.before + _rows(log, topic, self.since, connector)
            self.rows, self.duplicates = found, self.duplicates + self.rows - found
        self.since, self.before = info.end_offset, self.rows

    def committed(self, topic: str, given: int, result: CommitResult) -> None:
        """Takes in a commit with `given` rows for the topic."""
        repeated = result.duplicates.get(topic, 0)
        self.since, self.before = result.first_offsets.get(topic, self.since), self.rows
        self.rows += given - repeated
        self.duplicates += repeated


def _has_gaps(log: TopicLog, info: TopicInfo, offset: int, now_ms: int) -> bool:
    """Whether compaction may have taken records behind `offset`: only where the first is old enough to go."""
    retention = info.spec.retention_ms
    if not info.spec.compacted or retention is None:
        return False
    first = log.read(info.spec.name, offset, max_records=1)
    return bool(first) and (first[0].offset > offset or first[0].ingested_at <= now_ms - retention)


def _rows(log: TopicLog, topic: str, offset: int, connector: str) -> int:
    """From `offset` on, also those that say nothing any more; what `headrace replay` sent again is left out."""
    found = 0
    while records := log.read(topic, offset):
        found += sum(_is_row(record, connector) for record in records)
        offset = records[-1].offset + 1
    return found


def _is_row(record: Record, connector: str) -> bool:
    """Ids of replayed records do not begin with the connector's name; those of redacted records are digests."""
    return record.kind == codec.REDACTED or (record.kind != codec.CONTROL and record.id.startswith(f"{connector}:"))
