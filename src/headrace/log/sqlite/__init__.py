"""The embedded log: one SQLite file, `STATE/log.sqlite`, for all processes of one machine.

May import foundation, `log/` and the standard library's sqlite3. Knows bytes, never payloads. Each file holds one idea:

- `database`: the file, its tables and its settings
- `turn`: one writer at a time over all processes, in fair order
- `group_writer`: concurrent calls of one process share a transaction and its fsync
- `topics`: creating, changing, emptying and deleting topics
- `commit`: what a Commit changes, inside a transaction
- `queries`: what is read
- `watch`: noticing that another process has committed
- `retention`, `compaction`, `dropping`: what may go
- `redacting`: taking the bytes of single records away
- `space`: how the disk gets its space back
- `topic_log`: the port, made of these
"""

from collections.abc import Mapping
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.log.sqlite.topic_log import SqliteTopicLog
from headrace.log.topic_log import TopicLog

__all__ = ["open_log"]


def open_log(state: Path, *, options: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK) -> TopicLog:
    """Opens `state/log.sqlite`, creating folder and file where they are missing; it has no options.

    StateVersionError: a newer Headrace wrote it. CorruptDataError: it is no log. UnavailableError, DiskFullError: no access or no room.
    """
    del options
    return SqliteTopicLog(state, clock)
