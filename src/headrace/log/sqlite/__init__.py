"""The embedded log: one SQLite file, `STATE/log.sqlite`, for all processes of one machine.

May import foundation, `log/` and the standard library's sqlite3. Handles bytes, never payloads. Each file holds one idea:

- `database`: the file, its tables and its settings
- `turn`: one writer at a time over all processes, in fair order
- `group_writer`: concurrent calls of one process share a transaction and its fsync
- `topics`: creating, changing, emptying and deleting topics
- `commit`: applies a Commit inside a transaction
- `queries`: reads
- `watch`: notices commits by other processes
- `retention`, `compaction`, `dropping`: what may be dropped
- `redacting`: erasing the bytes of single records
- `space`: returning free space to the disk
- `topic_log`: the port, built on these
"""

from collections.abc import Mapping
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.log.sqlite.topic_log import SqliteTopicLog
from headrace.log.topic_log import TopicLog

__all__ = ["open_log"]


def open_log(state: Path, *, options: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK) -> TopicLog:
    """Opens `state/log.sqlite`, creating the folder and file if needed; it has no options.

    StateVersionError: a newer Headrace wrote it. CorruptDataError: not a log. UnavailableError, DiskFullError: no access or no space.
    """
    del options
    return SqliteTopicLog(state, clock)
