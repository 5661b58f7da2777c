"""What the conformance suite of the log runs in processes of its own, to kill them: `python -m … WORK TECHNOLOGY STATE NAME OPTIONS`."""

import json
import sys
from collections.abc import Callable, Mapping
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


def append_one(technology: str, state: Path, name: str, options: Mapping[str, str]) -> None:
    """Writes one record, of the id `name`."""
    with closing(open_log(state, technology=technology, options=options)) as log:
        append(log, OUT, new_records([name]))


def count_up(technology: str, state: Path, name: str, options: Mapping[str, str]) -> None:
    """Counts a shared number up, one by one, with compare-and-set; every number becomes a record `NAME/turn/number`."""
    with closing(open_log(state, technology=technology, options=options)) as log:
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


def write_for_ever(technology: str, state: Path, name: str, options: Mapping[str, str]) -> None:
    """Continues from the committed count: each commit is outputs, a copy of them, the count and the offset."""
    arm_from_environment()
    with closing(open_log(state, technology=technology, options=options)) as log:
        lease = log.acquire_lease("writer", name)
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


WORKS: dict[str, Callable[[str, Path, str, Mapping[str, str]], None]] = {
    "append_one": append_one,
    "count_up": count_up,
    "write_for_ever": write_for_ever,
}

if __name__ == "__main__":
    work, technology, folder, writer_name, given = sys.argv[1:]
    WORKS[work](technology, Path(folder), writer_name, json.loads(given))
