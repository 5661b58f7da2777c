"""Another finetuner's examples as a stream: as much out of order as the connector at the root of the chain says."""

from pathlib import Path

import msgspec
import pytest

from headrace.events import codec, topics
from headrace.events.example import Example
from headrace.events.message import Message
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicSpec
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.row_source import chained_row_id, root_of
from headrace.stages.transform.stage import TransformStage
from headrace.testing.builders import append, read_all
from headrace.testing.resource_ids import finetuner_id

EXAMPLES = topics.examples(finetuner_id("first"))
COUNTS = (
    "SELECT COUNT(*) AS n FROM TABLE(TUMBLE(TABLE source_stream, DESCRIPTOR(event_time), INTERVAL '10' SECOND)) "
    "GROUP BY window_start, window_end"
)


def example(second: int) -> NewRecord:
    name = f"trades:{second}"
    value = Example(name, name, 0, 1, [Message("user", "?")], "yes", "teacher")
    return NewRecord(f"{name}#0", codec.kind_of(value), codec.encode(value), second * 1_000)


def test_examples_within_the_declared_disorder_are_not_late(tmp_path: Path):
    for allowed_ms, counts, late in ((5_000, [3], 0), (0, [2], 1)):
        log = open_log(tmp_path / str(allowed_ms))
        log.ensure_topic(TopicSpec(EXAMPLES))
        binding = StreamBinding("source_stream", EXAMPLES, None, finetuner_id("first"), allowed_ms)
        stage = TransformStage(TransformOptions(finetuner_id("second"), COUNTS, (binding,)), log, "test")
        append(log, EXAMPLES, [example(second) for second in (1, 2, 11, 9, 30)])
        assert stage.step()
        found = [msgspec.json.decode(one.value)["n"] for one in read_all(log, topics.rows(finetuner_id("second")))]
        assert found[:1] == counts
        assert len(read_all(log, topics.late(finetuner_id("second")))) == late
        log.close()


@pytest.mark.parametrize("root", ["trades:1", "trades:a~b", "trades:~", "trades:back\\~slash\\"])
def test_the_event_at_the_root_is_known_by_its_whole_id_through_every_finetuner_of_a_chain(root: str):
    row_id = root
    for chained in (False, True, True):
        found = root_of(row_id, chained=chained)
        assert found == root
        row_id = chained_row_id(Example(row_id, found, 0, 1, [], "yes", "teacher"), "first~")
