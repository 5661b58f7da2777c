"""count: rows → how many there were so far, one record per row. One commit holds counts, state and offset."""

import json

from headrace.events import codec
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey
from headrace.stages.context import StageContext
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.stage_spec import StageSpec
from headrace_counter.spec import CountOptions

AT_MOST = 5
"""Rows of one commit, so that a small input makes many."""


class CountStage:
    """Owns `count/NAMESPACE.NAME`."""

    def __init__(self, spec: StageSpec, context: StageContext) -> None:
        assert isinstance(spec.options, CountOptions)
        self.name = spec.name
        self._options, self._log = spec.options, context.log
        (read,), (written,) = spec.reads, spec.writes
        self._input, self._output = read.topic, written.name
        self._log.ensure_exists(self._input)
        self._log.ensure_topic(written)
        self._lease = take_lease(self._log, self.name, context.holder)
        self._key = StateKey(self.name, "count")
        entry = self._log.state(self.name, "count").get("count")
        self._count = int(entry.value) if entry else 0
        self._reporter = StageReporter(self._log, spec.id, "count", context.clock)

    def step(self) -> bool:
        records = self._log.read(self._input, self._log.offset(self.name, self._input), max_records=AT_MOST)
        if not records:
            self._reporter.say(Condition("Counting", "True", "Waiting"), progress={"count": self._count}, now=True)
            return False
        count, counted = self._count, list[NewRecord]()
        for record in records:
            if record.kind != codec.CONTROL:
                count += self._options.step
                value = json.dumps({"count": count}).encode()
                counted.append(NewRecord(f"count:{record.id}", codec.ROW, value, record.event_time))
        self._log.commit(
            Commit(
                appends=[Append(self._output, counted)] if counted else [],
                offsets=[GroupOffset(self.name, self._input, records[-1].offset + 1)],
                state={self._key: str(count).encode()},
                lease=self._lease,
            )
        )
        self._count = count
        self._reporter.say(Condition("Counting", "True", "Running"), progress={"count": count})
        return True

    def close(self) -> None:
        """Holds nothing."""
