"""What the conformance suite of the log runs in processes of its own, to kill them."""

from contextlib import closing
from itertools import count
from pathlib import Path

from headrace.foundation.errors import ConflictError
from headrace.foundation.failpoints import arm_from_environment
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey
from headrace.testing.builders import append, new_records

OUT = "ns.out"
COPY = "ns.copy"
COUNT = StateKey("writer", "count")
RECORDS_PER_COMMIT = 3
COMMITS_PER_COUNTER = 30


def append_one(technology: str, state: Path) -> None:
    """Writes one record."""
    with closing(open_log(state, technology=technology)) as log:
        append(log, OUT, new_records([0]))


def count_up(technology: str, state: Path, name: str) -> None:
    """Counts a shared number up, one by one, with compare-and-set; every number becomes a record `NAME/turn/number`."""
    with closing(open_log(state, technology=technology)) as log:
        for turn in range(COMMITS_PER_COUNTER):
            while True:
                entry = log.state(COUNT.owner).get(COUNT.key)
                number, version = (int(entry.value), entry.version) if entry else (0, 0)
                record = new_records([f"{name}/{turn}/{number + 1}"])
                try:
                    log.commit(Commit([Append(OUT, record)], (), {COUNT: b"%d" % (number + 1)}, {COUNT: version}))
                except ConflictError:
                    continue
                break


def write_for_ever(technology: str, state: Path) -> None:
    """Goes on from the committed count: each commit is outputs, a copy of them, the count and the offset."""
    arm_from_environment()
    with closing(open_log(state, technology=technology)) as log:
        lease = log.acquire_lease("writer", "child")
        entry = log.state(COUNT.owner).get(COUNT.key)
        for turn in count(int(entry.value) if entry else 0):
            records = new_records([f"{turn}/{n}" for n in range(RECORDS_PER_COMMIT)], b"x" * 500)
            log.commit(
                Commit(
                    [Append(OUT, records), Append(COPY, records)],
                    [GroupOffset("writer", OUT, (turn + 1) * RECORDS_PER_COMMIT)],
                    {COUNT: b"%d" % (turn + 1)},
                    lease=lease,
                )
            )
