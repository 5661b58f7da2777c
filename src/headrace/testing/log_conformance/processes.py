"""Several processes on one log, and their sudden end."""

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.testing.builders import read_all
from headrace.testing.log_conformance.children import PATIENCE_SECONDS, child, end, kill
from headrace.testing.log_conformance.place import LogPlace, OpenLog
from headrace.testing.log_writers import COPY, COUNT, OUT


class ProcessConformance(LogPlace):
    @pytest.mark.kill
    def test_writers_in_several_processes_lose_nothing_and_keep_their_order(
        self, open_log: OpenLog, state: Path
    ) -> None:
        log = open_log()
        log.ensure_topic(TopicSpec(OUT))
        with ExitStack() as running:
            writers = [
                running.enter_context(child("count_up", self.technology, state, str(name), self.options(state)))
                for name in range(3)
            ]
            for writer in writers:
                end(writer)

        ids = [record.id.split("/") for record in read_all(log, OUT)]
        assert log.state(COUNT.owner)[COUNT.key].value == b"90"
        assert [int(total) for _, _, total in ids] == list(range(1, 91))
        for name in range(3):
            assert [int(turn) for who, turn, _ in ids if who == str(name)] == list(range(30))

    @pytest.mark.kill
    def test_a_writer_that_is_killed_in_mid_run_leaves_no_torn_commit(self, open_log: OpenLog, state: Path) -> None:
        log = open_log()
        for topic in (OUT, COPY):
            log.ensure_topic(TopicSpec(topic))
        for round_number in range(1, 4):
            goal = log.topic(OUT).end_offset + 20 * round_number  # of offsets, which may have gaps
            with child("write_for_ever", self.technology, state, options=self.options(state)) as writer:
                while log.topic(OUT).end_offset < goal:
                    assert log.wait(PATIENCE_SECONDS)
                kill(writer)
            _check_writer(log)
        log.close()
        _check_writer(open_log())

    @pytest.mark.kill
    @pytest.mark.parametrize(("point", "commits"), [("before", 2), ("after", 3)])
    def test_a_kill_around_the_third_commit_leaves_two_or_three(
        self, open_log: OpenLog, state: Path, monkeypatch: pytest.MonkeyPatch, point: str, commits: int
    ) -> None:
        log = open_log()
        for topic in (OUT, COPY):
            log.ensure_topic(TopicSpec(topic))
        monkeypatch.setenv("HEADRACE_FAILPOINT", f"log.commit.{point}:4")  # the first is its lease
        with child("write_for_ever", self.technology, state, options=self.options(state)) as writer:
            assert writer.wait(PATIENCE_SECONDS) == -signal.SIGKILL

        assert _check_writer(log) == commits
        assert log.acquire_lease("writer", "the next").epoch == 2


def _check_writer(log: TopicLog) -> int:
    """Outputs, their copy, state and offset agree. Returns the number of commits."""
    out, copy = read_all(log, OUT), read_all(log, COPY)
    count = int(log.state(COUNT.owner)[COUNT.key].value)
    assert [r.id for r in out] == [r.id for r in copy] == [f"{n // 3}/{n % 3}" for n in range(count * 3)]
    assert log.offset("writer", OUT) == len(out)
    return count
