"""Waiting for a commit of anybody's."""

from pathlib import Path

from headrace.log.topic_log import TopicSpec
from headrace.testing.builders import append, new_records
from headrace.testing.clock import VirtualClock
from headrace.testing.log_conformance.children import PATIENCE_SECONDS, child, end, in_threads
from headrace.testing.log_conformance.place import LogPlace, OpenLog
from headrace.testing.log_writers import OUT


class WaitingConformance(LogPlace):
    def test_wait_ends_early_for_commits_since_this_threads_last_call_and_only_for_those(
        self, open_log: OpenLog, clock: VirtualClock
    ) -> None:
        log, other = open_log(clock), open_log()
        assert not log.wait(0.5)
        append(other, "ns.a", new_records([1]))
        assert log.wait(0)
        assert not log.wait(0.5)
        append(log, "ns.a", new_records([2]))
        assert log.wait(0)
        seen: list[bool] = []
        in_threads(lambda _: seen.extend([log.wait(0), log.wait(0)]), 1)

        assert seen == [True, False]

    def test_wait_ends_when_another_process_commits(self, open_log: OpenLog, state: Path) -> None:
        log = open_log()
        log.ensure_topic(TopicSpec(OUT))
        while log.wait(0):
            pass
        with child("append_one", self.technology, state, options=self.options(state)) as writer:
            assert log.wait(PATIENCE_SECONDS)
            while not log.read(OUT, 0):
                assert log.wait(PATIENCE_SECONDS)
            end(writer)
