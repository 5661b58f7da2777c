"""How far a job has certainly read its inputs, told from what it wrote: retention may drop what lies before.

An engine's own offsets stay on its cluster. But a window comes out only once a row has been read whose time closes it, and it becomes
visible only with a checkpoint. So if, at some moment, an input held no such row yet, everything that it held then has been read.
"""

from collections.abc import Mapping

from headrace.log.topic_log import GroupOffset, TopicLog
from headrace.stages.ingest.stage import read_state
from headrace.stages.transform.options import TransformOptions
from headrace.streams.stream_job import JobOutput, JobSpec

MOST_LOOKS = 1_000
"""So many looks at an input are remembered; the older of them go by halves."""


class JobInputs:
    """Of one transform stage."""

    def __init__(self, stage: str, options: TransformOptions, log: TopicLog) -> None:
        self._stage, self._options, self._log = stage, options, log
        self._looks: dict[str, list[tuple[int, int]]] = {one.name: [] for one in options.streams}
        """By input: (where its topic ended, the largest event time that it held)"""
        self._proven: dict[str, int] = {}

    def look(self) -> None:
        """Remembers where inputs end, and what their newest event time is."""
        for one in self._options.streams:
            end = self._log.topic(
                one.topic
            ).end_offset  # before the state, which may then speak of more rows and never of fewer
            state = read_state(self._log, one.origin)
            looks = self._looks[one.name]
            if state is not None and state.latest is not None and (not looks or looks[-1][0] < end):
                looks.append((end, state.latest))
                if len(looks) > MOST_LOOKS:
                    del looks[:MOST_LOOKS:2]

    def taken(self, spec: JobSpec, output: JobOutput, closed: int) -> dict[str, int]:
        """Takes what a job wrote; gives the offsets that what it wrote before proves: late rows of one transaction may follow its windows.

        `closed`: the largest event time of the rows that an end of input closed, which prove nothing.
        """
        proven, self._proven = self._proven, dict[str, int]()
        name = spec.plan.inputs[0]
        if spec.plan.shape == "stateless":
            if output.furthest >= 0:
                self._proven[name] = output.furthest + 1
        elif len(spec.plan.inputs) == 1 and not output.signs and output.rows is not None:
            times = output.rows.event_times.to_pylist()
            shown = max((one for one in times if one > closed), default=None)
            if shown is not None:
                self._prove(
                    name, shown + 1 + next(one for one in spec.query.inputs if one.name == name).out_of_orderness_ms
                )
        return proven

    def _prove(self, name: str, read_ms: int) -> None:
        """The job has read a row of this event time or a later one."""
        passed = [end for end, latest in self._looks[name] if latest < read_ms]
        if passed:
            self._proven[name] = max(passed)
            self._looks[name] = [one for one in self._looks[name] if one[0] > max(passed)]

    def moved(self, read: Mapping[str, int]) -> list[GroupOffset]:
        """What to commit of these places in the inputs; none of them goes back."""
        found = list[GroupOffset]()
        for one in self._options.streams:
            if read.get(one.name, 0) > self._log.offset(self._stage, one.topic):
                found.append(GroupOffset(self._stage, one.topic, read[one.name]))
        return found

    def begin(self, places: Mapping[str, int]) -> list[GroupOffset]:
        """Holds each input from where a query begins in it, `places`, else from its start."""
        self._proven.clear()
        return [
            GroupOffset(self._stage, one.topic, places.get(one.name, self._log.topic(one.topic).start_offset))
            for one in self._options.streams
        ]

    def hold(self) -> list[GroupOffset]:
        """Holds the inputs of a query that runs already, where nothing was kept of them yet."""
        missing = [one.topic for one in self._options.streams if not self._log.offset(self._stage, one.topic)]
        return [GroupOffset(self._stage, topic, self._log.topic(topic).start_offset) for topic in missing]
