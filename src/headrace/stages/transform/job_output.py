"""Turns what a job wrote into canonical records: rows with ids and origins, late rows as they came in, the end after the last row.

One commit holds all of it, the offset in the job's topic, and the offsets up to which the job has certainly read its inputs.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.origin import Origin, encode_origin
from headrace.events.row_codec import batch_to_records
from headrace.foundation.errors import NotFoundError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, Lease, StateKey, TopicLog
from headrace.stages.transform.job_inputs import JobInputs
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.row_source import control_record
from headrace.stages.transform.running_job import Job
from headrace.streams.stream_job import JobLateRow, JobOutput, JobSign, JobSpec, StreamJobEngine

MAX_RECORDS = 20_000


class JobOutputReader:
    """Of one transform stage."""

    def __init__(
        self,
        stage: str,
        options: TransformOptions,
        output: str,
        log: TopicLog,
        lease: Lease,
        engine: StreamJobEngine,
        inputs: JobInputs,
    ) -> None:
        """`output`: the topic that the job writes."""
        owner = options.id
        self.name, self._options, self._output, self._log, self._lease = stage, options, output, log, lease
        self._engine, self._inputs = engine, inputs
        self._rows, self._late = topics.rows(owner), topics.late(owner)
        self._offset = log.offset(stage, output)
        self.counts = {"rows": 0, "late": 0, "ends": 0, "latest": 0, "furthest": -1, "closed": -1}
        """`latest`: the largest event time of a row; `closed`: the same at the last end of an input."""
        self.ended = set[str]()
        """Inputs that are at their end."""
        self._again: set[bytes] | None = None
        saved = log.state(stage)
        if "counts" in saved:
            self.counts |= msgspec.json.decode(saved["counts"].value, type=dict[str, int])
        if "ended" in saved:
            self.ended = set(msgspec.json.decode(saved["ended"].value, type=list[str]))

    @property
    def offset(self) -> int:
        """The place in the job's topic up to which everything is taken in."""
        return self._offset

    def begin(self, *, restart: bool) -> dict[StateKey, bytes | None]:
        """Starts to count for another query; gives the state to commit. `restart`: it reads its inputs from their start."""
        self.counts["furthest"] = -1
        if restart:
            self.ended = set()
        return self._state(self.counts, self.ended)

    def job_changed(self) -> None:
        """A new job writes: other rows may be repeated."""
        self._again = None

    def _state(self, counts: dict[str, int], ended: set[str]) -> dict[StateKey, bytes | None]:
        return {
            StateKey(self.name, "counts"): msgspec.json.encode(counts),
            StateKey(self.name, "ended"): msgspec.json.encode(sorted(ended)),
        }

    def collect(self, spec: JobSpec, job: Job) -> bool:
        """Takes in what came since the last time, in one commit. False: nothing came."""
        records = self._log.read(self._output, self._offset, max_records=MAX_RECORDS)
        if not records:
            return False
        output = self._engine.read_output(spec, self._new(records, job))
        if output.signs:
            # Rows that a sign releases lie in the sign's transaction, before it or behind it: all of it is there.
            while more := self._log.read(self._output, records[-1].offset + 1, max_records=MAX_RECORDS):
                records += more
            output = self._engine.read_output(spec, self._new(records, job))
        self._commit(spec, job, output, records[-1].offset + 1)
        return True

    def _new(self, records: list[Record], job: Job) -> list[Record]:
        """Drops records of an earlier graph's job, and rows that a job repeated after it restarted from an older checkpoint."""
        records = [record for record in records if record.offset >= job.start]
        if job.again_to <= job.again_from or not records or records[-1].offset < job.again_to:
            return records
        if self._again is None:
            self._again = self._written(job.again_from, job.again_to)
        return [one for one in records if one.offset < job.again_to or _identity(one) not in self._again]

    def _written(self, start: int, end: int) -> set[bytes]:
        found: set[bytes] = set()
        offset = start
        while records := self._log.read(self._output, offset, max_records=MAX_RECORDS):
            found.update(_identity(record) for record in records if record.offset < end)
            offset = records[-1].offset + 1
            if offset >= end:
                break
        return found

    def _commit(self, spec: JobSpec, job: Job, output: JobOutput, offset: int) -> None:
        rows = batch_to_records(output.rows) if output.rows is not None and output.rows.num_rows else []
        late = self._late_records(output)
        ended, counts = set(self.ended), dict(self.counts)
        counts["rows"] += len(rows)
        counts["late"] += len(late)
        counts["latest"] = max([counts["latest"], *(row.event_time for row in rows)])
        counts["furthest"] = max(counts["furthest"], output.furthest)
        signs = self._signs(output.signs, spec, ended, counts)
        read = self._inputs.taken(spec, output, counts["closed"])
        read |= {sign.input: max(read.get(sign.input, 0), sign.offset + 1) for sign in output.signs}
        if any(sign.sign == "end" for sign in output.signs):
            counts["closed"] = counts["latest"]
        appends = [Append(self._rows, [*rows, *signs]), Append(self._late, late)]
        offsets = [GroupOffset(self.name, self._output, offset, hold=_hold(job, offset))]
        offsets += self._inputs.moved(read)
        failpoint("transform.commit.before")
        self._log.commit(
            Commit(
                appends=[append for append in appends if append.records],
                offsets=offsets,
                state=self._state(counts, ended),
                lease=self._lease,
            )
        )
        failpoint("transform.commit.after")
        self._offset, self.counts, self.ended = offset, counts, ended

    def _signs(
        self,
        signs: Sequence[JobSign],
        spec: JobSpec,
        ended: set[str],
        counts: dict[str, int],
    ) -> list[NewRecord]:
        """Passes the end on once every input has ended, after the rows of the last windows."""
        found: list[NewRecord] = []
        for sign in signs:
            if sign.sign != "end":
                continue
            ended.add(sign.input)
            if ended >= set(spec.plan.inputs):
                counts["ends"] += 1
                record_id = derive_id(self.name, "end", counts["ends"])
                found.append(control_record(record_id, Control("end", self._options.id.name), counts["latest"]))
        return found[-1:]

    def _late_records(self, output: JobOutput) -> list[NewRecord]:
        """The late rows as they came in; the origin's position says how late they are."""
        bindings = {one.name: one for one in self._options.streams}
        return [self._late_record(bindings[row.input], row) for row in output.late]

    def _late_record(self, binding: StreamBinding, row: JobLateRow) -> NewRecord:
        found = self._log.read(binding.topic, row.offset, max_records=1)
        if not found or found[0].offset != row.offset:
            raise NotFoundError(
                f"the late row at {row.offset} of {binding.topic} is gone", next_step="lengthen the topic's retention"
            )
        record = found[0]
        origin = Origin(topic=binding.topic, offset=row.offset, id=record.id, position=f"late by {row.by_ms} ms")
        return NewRecord(
            record.id, codec.ROW, record.value, record.event_time, record.key, encode_origin(origin), record.ingested_at
        )


def _hold(job: Job, offset: int) -> int:
    """The oldest offset needed to recognise rows that a restarted job repeats."""
    return min(offset, job.reached, job.again_from or offset)


def _identity(record: Record) -> bytes:
    """Equal for the same row written twice, and for no other: a value names the window or the offset that its row comes from."""
    return hashlib.blake2b(record.value, digest_size=16).digest()
