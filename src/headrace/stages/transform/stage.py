"""transform: runs a query over `connector.events` and writes `owner.rows`, late rows and dead letters.

One commit holds the output rows, the engine's changed state, and the offsets of every input.
"""

from collections.abc import Sequence

import msgspec

from headrace.events import codec, topics
from headrace.events.addressing import opened
from headrace.events.control import Control
from headrace.events.dead_records import dead_record
from headrace.events.origin import Origin, encode_origin
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.transform.inputs import WAITING_FOR_SCHEMA, QueryInputs
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.row_source import control_record, cut_at_controls, to_batch
from headrace.stages.transform.running_query import (
    CARRIED,
    RunningQuery,
    Settled,
    read_running,
    settle,
    start_offset,
    state_key,
)
from headrace.stages.transform.spec import topics_of
from headrace.stages.transform.static_table import table_notes, write_table_letters
from headrace.streams.registry import open_process_engine
from headrace.streams.stream_engine import (
    EngineOptions,
    LateRow,
    QueryOutput,
    StreamQuery,
)

MAX_ROWS = 20_000


class _Collected:
    """The records that one step writes, by topic."""

    def __init__(self) -> None:
        self.rows: list[NewRecord] = []
        self.late: list[NewRecord] = []
        self.dead: list[NewRecord] = []

    def any(self) -> bool:
        return bool(self.rows or self.late or self.dead)


class TransformStage:
    """Owns `transform/NAMESPACE.OWNER`. The query's owner is the resource that declares it, such as a finetuner."""

    def __init__(
        self,
        options: TransformOptions,
        log: TopicLog,
        holder: str,
        clock: Clock = SYSTEM_CLOCK,
        *,
        engine: str = "duckdb",
    ) -> None:
        owner = options.id
        self.name = f"transform/{owner.path_name}"
        self._options, self._log, self._clock = options, log, clock
        self._inputs = QueryInputs(options, log, clock)
        self._engine = open_process_engine(engine)
        self._rows = topics.rows(owner)
        self._late = topics.late(owner)
        self._dead = topics.stage_dead(owner, "transform")
        for topic in topics_of(options):
            log.ensure_topic(topic)
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, owner, "transform", clock)
        self._offsets: dict[str, int] = {}
        self._query: StreamQuery | None = None
        self._counts = {"rows": 0, "late": 0, "ends": 0, "endsDue": 0}
        self._ended: set[str] = set()
        self._notes = ""

    def step(self) -> bool:
        if self._query is None:
            self._query = self._start()
            if self._query is None:
                return False
        work = {binding.name: self._read(binding) for binding in self._options.streams}
        read = {name: records[-1].offset + 1 for name, records in work.items() if records}
        collected = _Collected()
        for binding in self._options.streams:
            self._process(self._query, binding, work[binding.name], collected)
        if len(self._options.streams) > 1:
            self._catch_up(self._query, self._offsets | read, collected)
        if not read and not collected.any():
            self._reporter.flush()
            return False
        self._commit(self._query, collected, read)
        return True

    def say_last(self) -> None:
        self._reporter.end(self._lease)

    def close(self) -> None:
        self._query = None

    def _start(self) -> StreamQuery | None:
        """Starts the query once every input's schema is known."""
        spec = self._inputs.spec()
        if spec is None:
            self._reporter.say(WAITING_FOR_SCHEMA)
            return None
        settled = settle(read_running(self._log, self.name), spec, self._engine.plan)
        self._inputs.keep_to(settled.spec)
        if settled.carry != "resume":
            self._begin(settled)
        for binding in self._options.streams:
            self._offsets[binding.name] = self._log.offset(self.name, binding.topic)
        self._load_progress()
        state = {key.removeprefix("query/"): entry.value for key, entry in self._log.state(self.name, "query/").items()}
        write_table_letters(self._log, self.name, self._dead, self._inputs.tables, self._lease, self._clock)
        notes = (*CARRIED.get(settled.carry, ()), *settled.plan.notes, *table_notes(self._inputs.tables))
        self._notes = "; ".join(notes)
        self._reporter.say(Condition("Transforming", "True", "Running", self._notes), now=True)
        options = EngineOptions(self._options.parallelism, self._options.memory_bytes)
        return self._engine.start(settled.spec, settled.plan, state, options)

    def _begin(self, settled: Settled) -> None:
        """Drops the previous query's state and commits where this one starts, so that retention holds its inputs from the first moment."""
        restart = settled.carry == "restart" or (settled.carry == "start" and self._options.start_ms is not None)
        inputs = {one.topic for one in self._options.streams if restart or not self._log.offset(self.name, one.topic)}
        state: dict[StateKey, bytes | None] = {
            StateKey(self.name, key): None for key in self._log.state(self.name, "query/")
        }
        if restart:
            state[StateKey(self.name, "ended")] = msgspec.json.encode([])
        state[state_key(self.name)] = msgspec.json.encode(RunningQuery.of(settled.spec, settled.plan))
        offsets = [GroupOffset(self.name, one, start_offset(self._log, one, self._options)) for one in sorted(inputs)]
        failpoint("transform.begin.before")
        self._log.commit(Commit(state=state, offsets=offsets, lease=self._lease))
        failpoint("transform.begin.after")

    def _catch_up(self, query: StreamQuery, handed_in: dict[str, int], into: _Collected) -> None:
        """Tells the query of which inputs nothing is left that arrived before the rows at hand: rows of others do not wait for these while
        they are idle or at their end. The end that all inputs have reached follows the last of the rows that come out.
        """
        newest = query.newest_arrival()
        whole = [one for one in self._options.streams if handed_in[one.name] >= self._log.topic(one.topic).end_offset]
        outputs = [query.caught_up(binding.name, newest) for binding in whole]
        while any(output.rows is not None or output.dead for output in outputs):
            for binding, output in zip(whole, outputs, strict=True):
                self._collect(output, None, binding, into)
            outputs = [query.caught_up(binding.name, newest) for binding in whole]
        if self._counts["endsDue"] and len(whole) == len(self._options.streams):
            self._counts["endsDue"] = 0
            into.rows.append(self._end())

    def _read(self, binding: StreamBinding) -> list[Record]:
        return opened(self._log.read(binding.topic, self._offsets[binding.name], max_records=MAX_ROWS), self.name)

    def _process(self, query: StreamQuery, binding: StreamBinding, records: list[Record], into: _Collected) -> None:
        for piece in cut_at_controls(records):
            if isinstance(piece, Control):
                if piece.sign == "documents":  # from a chained finetuner: its documents changed, not its rows
                    continue
                output = query.idle(binding.name) if piece.sign == "idle" else query.end_of_input(binding.name)
                self._collect(output, None, binding, into)
                if piece.sign == "end":
                    self._note_end(binding, into)
            else:
                self._ended.discard(binding.name)
                batch = to_batch(piece, self._inputs.schemas[binding.name], binding.finetuner)
                self._collect(query.process(binding.name, batch), batch, binding, into)

    def _collect(self, output: QueryOutput, batch: RowBatch | None, binding: StreamBinding, into: _Collected) -> None:
        if output.rows is not None and output.rows.num_rows:
            into.rows.extend(batch_to_records(output.rows))
        if batch is not None and output.late:
            into.late.extend(self._late_records(output.late, batch, binding))
        for record_id, letter in output.dead:
            mine = msgspec.structs.replace(letter, reader=self.name)
            into.dead.append(dead_record(record_id, mine, self._clock.now_ms()))

    def _late_records(self, late: Sequence[LateRow], batch: RowBatch, binding: StreamBinding) -> list[NewRecord]:
        """The late rows as they came in; the origin's position says how late they are."""
        records = batch_to_records(batch)
        return [
            msgspec.structs.replace(
                records[row.index],
                origin=encode_origin(
                    Origin(
                        topic=binding.topic,
                        offset=batch.offsets[row.index].as_py(),
                        id=records[row.index].id,
                        position=f"late by {row.by_ms} ms",
                    )
                ),
            )
            for row in late
        ]

    def _note_end(self, binding: StreamBinding, into: _Collected) -> None:
        """The end is handed on once every input has ended, behind the last rows; those of a join may wait until `caught_up`."""
        self._ended.add(binding.name)
        if len(self._ended) < len(self._options.streams):
            return
        if len(self._options.streams) > 1:
            self._counts["endsDue"] = 1
        else:
            into.rows.append(self._end())

    def _end(self) -> NewRecord:
        self._counts["ends"] += 1
        end = Control("end", self._options.id.name)
        return control_record(derive_id(self.name, "end", self._counts["ends"]), end, 0)

    def _commit(self, query: StreamQuery, collected: _Collected, offsets: dict[str, int]) -> None:
        self._counts["rows"] += sum(codec.is_data(record) for record in collected.rows)
        self._counts["late"] += len(collected.late)
        state: dict[StateKey, bytes | None] = {
            StateKey(self.name, f"query/{key}"): value for key, value in query.snapshot().items()
        }
        state[StateKey(self.name, "counts")] = msgspec.json.encode(self._counts)
        state[StateKey(self.name, "ended")] = msgspec.json.encode(sorted(self._ended))
        topics_of = {binding.name: binding.topic for binding in self._options.streams}
        appends = [
            Append(self._rows, collected.rows),
            Append(self._late, collected.late),
            Append(self._dead, collected.dead),
        ]
        failpoint("transform.commit.before")
        self._log.commit(
            Commit(
                appends=[append for append in appends if append.records],
                offsets=[GroupOffset(self.name, topics_of[name], offset) for name, offset in offsets.items()],
                state=state,
                lease=self._lease,
            )
        )
        failpoint("transform.commit.after")
        self._offsets.update(offsets)
        watermark = query.watermark()
        self._reporter.say(
            Condition("Transforming", "True", "Running", self._notes),
            progress={
                **{name: self._counts[name] for name in ("rows", "late", "ends")},
                "watermark": watermark if watermark is not None else -1,
            },
        )

    def _load_progress(self) -> None:
        saved = self._log.state(self.name)
        if "counts" in saved:
            self._counts |= msgspec.json.decode(saved["counts"].value, type=dict[str, int])
        if "ended" in saved:
            self._ended = set(msgspec.json.decode(saved["ended"].value, type=list[str]))
