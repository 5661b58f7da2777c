"""A folder of documents through `ingest`: whatever is killed, each change of a file is in the topic once."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from headrace.connectors.source import SourceOptions
from headrace.events import topics
from headrace.events.row_codec import row_values
from headrace.events.schema import Column, RowSchema
from headrace.knowledge.changes import DocumentColumns, to_change
from headrace.log.record import Record
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest import stage as ingest
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage, read_state
from headrace.testing.clock import VirtualClock
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.resource_ids import connector_id

POINTS = [f"{name}.{side}" for name in ("ingest.commit", "log.commit") for side in ("before", "after")] + [
    "log.commit.within"
]
EVENTS, DEAD = topics.events(connector_id("docs")), topics.dead(connector_id("docs"))


@pytest.fixture(autouse=True)
def small_polls() -> Iterator[None]:
    with patch.object(ingest, "MAX_ROWS", 2):
        yield


class Job:
    """A folder, a log, and an ingest that is started again whenever it was killed."""

    def __init__(self, root: Path) -> None:
        self.root = root / "policies"
        self.root.mkdir(parents=True)
        self.clock = VirtualClock()
        source = SourceOptions(
            connector_id("docs"), "documents", {"path": str(self.root)}, schema=RowSchema((Column("fee", "INT"),))
        )
        self.options = IngestOptions(source)
        self.log: TopicLog = open_log(root / "state", clock=self.clock)
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.stage = IngestStage(self.options, self.log, f"holder {self.starts}", self.clock)

    def settle(self) -> None:
        """Steps until the folder is in the topic."""
        quiet = 0
        while quiet < 3:
            quiet = 0 if self.stage.step() else quiet + 1
            self.clock.advance(1)

    def records(self, topic: str) -> list[Record]:
        return [record for record in self.log.read(topic, 0) if record.kind.startswith(("row", "dead"))]

    def history(self) -> dict[str, list[str]]:
        """What the topic says of each document, in order."""
        told: dict[str, list[str]] = {}
        for record in self.records(EVENTS):
            row = row_values(record)
            told.setdefault(str(row["path"]), []).append(str(row.get("body", row["operation"])))
        return told

    def close(self) -> None:
        self.stage.close()
        self.log.close()


def first_edits(root: Path) -> None:
    for n in range(5):
        (root / f"{n}.md").write_text(f"First {n}.")
    (root / "faq.jsonl").write_text("".join(f'{{"id": {n}, "body": "Answer {n}."}}\n' for n in range(5)) + "broken\n")
    (root / "bad.md").write_bytes(b"\xff")


def second_edits(root: Path) -> None:
    (root / "1.md").write_text("Second 1.")
    (root / "2.md").unlink()
    (root / "3.md").rename(root / "5.md")
    (root / "4.md").write_bytes(b"")
    (root / "faq.jsonl").write_text('{"id": 1, "body": "Answer 1."}\n{"id": 2, "body": "New 2."}\n')


EXPECTED = {
    "0.md": ["First 0."],
    "1.md": ["First 1.", "Second 1."],
    "2.md": ["First 2.", "delete"],
    "3.md": ["First 3.", "delete"],
    "4.md": ["First 4."],
    "5.md": ["First 3."],
    "faq.jsonl#0": ["Answer 0.", "delete"],
    "faq.jsonl#1": ["Answer 1."],
    "faq.jsonl#2": ["Answer 2.", "New 2."],
    "faq.jsonl#3": ["Answer 3.", "delete"],
    "faq.jsonl#4": ["Answer 4.", "delete"],
}


def run(job: Job, kill: Kill) -> None:
    for edit in (first_edits, second_edits):
        edit(job.root)
        try:
            with killing(kill):
                job.settle()
        except Killed:
            job.stage.close()
            kill.struck = False
            job.start()
            job.settle()


def check(job: Job) -> None:
    assert job.history() == EXPECTED
    assert len(job.records(DEAD)) == 3  # the line, bad.md, and 4.md once it was empty
    ids = [record.id for record in job.records(EVENTS)]
    assert len(set(ids)) == len(ids)
    state = read_state(job.log, connector_id("docs"))
    assert state is not None
    assert (state.rows, state.dead) == (sum(map(len, EXPECTED.values())), 3)


def test_a_run_that_nothing_disturbs(tmp_path):
    job = Job(tmp_path)
    kill = Kill()
    run(job, kill)
    check(job)
    job.close()
    assert kill.passed["ingest.commit.before"] > 10


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 5, 11])
def test_a_kill_at_a_commit_changes_nothing_of_what_is_in_the_topic(tmp_path, point, nth):
    job = Job(tmp_path)
    run(job, Kill(point, nth))
    check(job)
    job.close()
    assert job.starts == 2


def test_its_rows_are_changes_of_documents_deletions_too(tmp_path):
    job = Job(tmp_path)
    path = job.root / "a.md"
    for text in ("---\nfee: 9\n---\nFirst.", "---\nfee: 10\n---\nSecond.", ""):
        if text:
            path.write_text(text)
        else:
            path.unlink()
        job.settle()
    columns = DocumentColumns(metadata=("fee",), version="fee", valid_from="modified_at")
    changes = [
        to_change(row_values(record), columns, seen_ms=record.ingested_at, stream_ms=0, offset=record.offset)
        for record in job.records(EVENTS)
    ]
    assert [(one.document, one.version, one.text, one.deleted) for one in changes] == [
        ("a.md", "9", "First.", False),
        ("a.md", "10", "Second.", False),
        ("a.md", "10", "", True),
    ]
    assert [one.order for one in changes] == sorted({one.order for one in changes})
    assert changes[0].valid_from_ms == pytest.approx(changes[1].valid_from_ms, abs=10_000)
    job.close()


def test_what_changes_while_nobody_looks_is_seen_afterwards(tmp_path):
    job = Job(tmp_path)
    first_edits(job.root)
    job.settle()
    job.stage.close()
    second_edits(job.root)
    job.start()
    job.settle()
    check(job)
    job.close()
