"""Records that say nothing to a reader: redacted ones, and those for another one. Every stage passes them and reads what follows."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest

from headrace.connectors.http.inbox import RAW, inbox_topic
from headrace.connectors.sink import SinkOptions
from headrace.connectors.source import SourceOptions
from headrace.control.replay import replay_dead_letters
from headrace.control.summary import summary
from headrace.events import codec, topics
from headrace.events.addressing import addressed
from headrace.events.dead_letter import DeadLetter
from headrace.events.decision import Decision
from headrace.events.example import Example
from headrace.events.message import Message
from headrace.events.prompt import Prompt
from headrace.events.schema import Column, RowSchema
from headrace.events.score import ModelScore, Score
from headrace.foundation.resource_id import ResourceId
from headrace.learning.learner import LearnerOptions
from headrace.learning.options import LearningOptions
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.models.tiny import new_checkpoint
from headrace.promotion.mlflow import MlflowMirror
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import IndexStage
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.stage import LabelStage
from headrace.stages.mirror.options import MirrorOptions
from headrace.stages.mirror.stage import MirrorStage
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.stage import PromptStage
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.sink.stage import SinkStage
from headrace.stages.stage import Stage
from headrace.stages.stage_type import STAGES, stage_type
from headrace.stages.topology import Topology
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.spec import train_spec
from headrace.stages.train.stage import TrainStage
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.stage import TransformStage
from headrace.testing.builders import append, new_record, read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.light_learner import LightLearner
from headrace.testing.resource_ids import connector_id, embedding_model_id, finetuner_id, knowledge_base_id
from headrace.testing.word_embedder import WordEmbedder

DESK = ResourceId("StreamFinetuner", "default", "desk")
SCHEMA = RowSchema((Column("path", "STRING"), Column("body", "STRING")))
ROWS = topics.rows(DESK)
SECRET = "kept no longer"


@dataclass(frozen=True)
class Place:
    """Where a stage is opened."""

    folder: Path
    log: TopicLog
    clock: VirtualClock
    base: Path


@dataclass(frozen=True)
class Reader:
    """A stage, a topic that it reads, and one that shows what it read."""

    reads: str
    record: Callable[[int, str], NewRecord]
    """By number and text."""
    open: Callable[[Place], Stage]
    writes: str
    count: int = 2
    """Data records that it writes of the two that are left."""


def row(number: int, text: str) -> NewRecord:
    return new_record(f"docs:{number}", json.dumps({"path": f"{number}.md", "body": text}).encode(), key=f"{number}.md")


def of(payload: msgspec.Struct, number: int) -> NewRecord:
    return new_record(f"r{number}", codec.encode(payload), kind=codec.kind_of(payload))


def prompt(number: int, text: str) -> NewRecord:
    return of(Prompt(f"row{number}", f"root{number}", 0, 1, [Message("user", text)], ground_truth="yes"), number)


def example(number: int, text: str) -> NewRecord:
    return of(Example(f"row{number}", f"root{number}", 0, 1, [Message("user", text)], "yes", "column:a"), number)


def decision(number: int, text: str) -> NewRecord:
    return of(Decision("cut", f"candidate-{number}", text, number, number), number)


def source(kind: str, **options: object) -> SourceOptions:
    return SourceOptions(connector_id("docs"), kind, options, schema=SCHEMA)


def ingest(at: Place) -> Stage:
    return IngestStage(IngestOptions(source("http"), pushed=True), at.log, "t", at.clock)


def transform(at: Place) -> Stage:
    binding = StreamBinding("source_stream", topics.events(connector_id("docs")), source("file"))
    return TransformStage(
        TransformOptions(DESK, "SELECT path, body FROM source_stream", (binding,)),
        at.log,
        "t",
        at.clock,
    )


def chained(at: Place) -> Stage:
    binding = StreamBinding("source_stream", topics.examples(DESK), finetuner=DESK)
    return TransformStage(
        TransformOptions(finetuner_id("next"), "SELECT question FROM source_stream", (binding,)), at.log, "t", at.clock
    )


def train(at: Place) -> Stage:
    learning = LearningOptions(LearnerOptions(at.base, "full", "adamw", batch_size=1))
    options = TrainOptions(DESK, learning, checkpoint_interval_ms=0)
    return TrainStage(options, at.log, "t", at.folder, at.clock, learner=LightLearner)


def index(at: Place) -> Stage:
    options = KnowledgeOptions(
        knowledge_base_id("policies"), connector_id("docs"), EmbedOptions(embedding_model_id("words"))
    )
    return IndexStage(options, at.log, "t", at.folder, at.clock, embedder=WordEmbedder())


def sink(at: Place, name: str = "out") -> Stage:
    given = SinkOptions(connector_id(name), "file", {"path": str(at.folder / name), "format": "json"})
    return SinkStage(SinkStageOptions(given, ROWS), at.log, "t", at.clock)


def written_by(at: Place, name: str) -> list[str]:
    """What a sink wrote, in order."""
    lines = [line for path in sorted((at.folder / name).rglob("*")) for line in path.read_text().splitlines()]
    return [json.loads(line)["body"] for line in lines]


READERS: dict[str, Reader] = {
    "ingest": Reader(
        topics.inbox(connector_id("docs")),
        lambda number, text: msgspec.structs.replace(row(number, text), kind=RAW),
        ingest,
        topics.events(connector_id("docs")),
    ),
    "index": Reader(
        topics.events(connector_id("docs")),
        row,
        index,
        topics.stage_dead(knowledge_base_id("policies"), "index"),
        count=0,
    ),
    "transform": Reader(topics.events(connector_id("docs")), row, transform, ROWS),
    "transform, chained": Reader(topics.examples(DESK), example, chained, topics.rows(finetuner_id("next"))),
    "prompt": Reader(
        ROWS,
        row,
        lambda at: PromptStage(PromptOptions(DESK, (PromptTemplate("{body}"),)), at.log, "t", at.clock),
        topics.prompts(DESK),
    ),
    "label": Reader(
        topics.prompts(DESK),
        prompt,
        lambda at: LabelStage(LabelOptions(DESK), at.log, "t", at.folder, at.clock),
        topics.examples(DESK),
    ),
    "train": Reader(topics.examples(DESK), example, train, topics.scores(DESK)),
    "sink": Reader(ROWS, row, sink, topics.dead(connector_id("out")), count=0),
}
SLOW = {"mirror": "loads MLflow: test_the_mirror_passes_it"}
READS_NOTHING = {"embed", "serve", "push", "search", "embedding-door"}


def test_every_stage_that_reads_has_a_case() -> None:
    stages = {one.name for one in entry_points(group=STAGES) if one.value.startswith("headrace.")}
    assert {name.partition(",")[0] for name in READERS} | set(SLOW) == stages - READS_NOTHING
    assert all(stage_type(name).open is None for name in READS_NOTHING)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    new_checkpoint(folder, size="tiny", text=["text 0 1 2 yes"] * 5, seed=1, vocabulary=512)
    return folder


@pytest.fixture
def at(tmp_path: Path, base: Path) -> Iterator[Place]:
    clock = VirtualClock()
    with closing(open_log(tmp_path, clock=clock)) as log:
        yield Place(tmp_path, log, clock, base)


def redacted(at: Place, topic: str, records: Sequence[NewRecord]) -> None:
    """Three records; the one in the middle is redacted."""
    append(at.log, topic, records)
    at.log.redact({topic: [records[1].id]})
    assert [codec.is_data(one) for one in read_all(at.log, topic)] == [True, False, True]


def drain(stage: Stage) -> None:
    with closing(stage):
        while stage.step():
            pass


@pytest.mark.parametrize("name", READERS)
def test_a_stage_passes_it(name: str, at: Place) -> None:
    reader = READERS[name]
    if name == "ingest":
        at.log.ensure_topic(inbox_topic(source("http")))
    redacted(at, reader.reads, [reader.record(n, SECRET if n == 1 else f"text {n}") for n in range(3)])
    stage = reader.open(at)
    drain(stage)
    assert at.log.offset(stage.name, reader.reads) == 3
    written = [one for one in read_all(at.log, reader.writes) if codec.is_data(one)]
    assert len(written) == reader.count
    assert not any(SECRET.encode() in one.value for one in written)
    letters = [info.spec.name for info in at.log.topics() if ".dead" in info.spec.name and info.end_offset]
    assert letters == []


@pytest.mark.parametrize("name", READERS)
def test_a_topic_whose_every_record_was_redacted_holds_nothing_up(name: str, at: Place) -> None:
    reader = READERS[name]
    if name == "ingest":
        at.log.ensure_topic(inbox_topic(source("http")))
    append(at.log, reader.reads, [reader.record(0, SECRET)])
    at.log.redact({reader.reads: [reader.record(0, SECRET).id]})
    stage = reader.open(at)
    drain(stage)
    assert at.log.offset(stage.name, reader.reads) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_mirror_passes_it(at: Place) -> None:
    model = ModelScore("learner", "", exact=True, loss=0.5, metric=1.0)
    scores = [of(Score(f"e{n}", f"r{n}", n, "a", majority_exact=False, models=[model]), n) for n in range(3)]
    redacted(at, topics.scores(DESK), scores)
    redacted(at, topics.decisions(DESK), [decision(n, SECRET if n == 1 else "tried") for n in range(3)])
    stage = MirrorStage(MirrorOptions(DESK), at.log, "t", at.folder, at.clock)
    drain(stage)
    assert at.log.offset(stage.name, topics.decisions(DESK)) == 3
    mirror = MlflowMirror(at.folder / "mlflow.db", DESK)
    tags = mirror.client.get_run(mirror.run_id).data.tags
    assert sum(name.startswith("headrace.decision.") for name in tags) == 2


def test_a_replay_passes_a_redacted_letter_and_cannot_send_what_was_redacted(at: Place) -> None:
    dead = topics.stage_dead(DESK, "label")
    redacted(at, topics.prompts(DESK), [prompt(n, f"text {n}") for n in range(3)])
    letters = [
        of(DeadLetter("label", "unanswered", "", f"r{n}", "", source_topic=topics.prompts(DESK),
                      source_offset=place, replayable=True), n)
        for n, place in enumerate((1, 0, 2))
    ]  # fmt: skip
    append(at.log, dead, letters)
    at.log.redact({dead: ["r1"]})
    report = replay_dead_letters(at.log, dead)
    assert (report.sent, report.lost) == (1, 1)


def test_what_is_shown_of_a_run_leaves_it_out(at: Place) -> None:
    for name, make in (
        (topics.examples(DESK), example),
        (topics.decisions(DESK), decision),
    ):
        redacted(at, name, [make(n, f"text {n}") for n in range(3)])
    options = TrainOptions(DESK, LearningOptions(LearnerOptions(at.base)))
    shown = summary(at.log, Topology((train_spec(options),)))["streamFinetuners"][DESK.short_name]
    assert shown["examples"] == 2


@pytest.mark.parametrize("name", [name for name in READERS if name != "ingest"])
def test_a_record_for_one_stage_is_read_by_it_and_passed_by_every_other(name: str, at: Place) -> None:
    reader = READERS[name]
    stage = reader.open(at)
    records = [reader.record(n, f"text {n}") for n in range(3)]
    sent = [addressed(records[0], "sink/default.another"), addressed(records[1], stage.name), records[2]]
    append(at.log, reader.reads, sent)
    drain(stage)
    assert at.log.offset(stage.name, reader.reads) == 3
    assert sum(codec.is_data(one) for one in read_all(at.log, reader.writes)) == reader.count
    if name == "sink":
        assert written_by(at, "out") == ["text 1", "text 2"]


def test_a_letter_of_a_sink_is_sent_again_to_that_sink_alone(at: Place) -> None:
    append(at.log, ROWS, [row(0, "text 0"), row(1, "text 1")])
    letter = DeadLetter(
        "sink",
        "refused",
        "",
        "docs:0",
        "",
        source_topic=ROWS,
        source_offset=0,
        replayable=True,
        reader="sink/default.out",
    )
    append(at.log, topics.dead(connector_id("out")), [of(letter, 0)])
    drain(sink(at))
    drain(sink(at, "other"))
    assert replay_dead_letters(at.log, topics.dead(connector_id("out"))).sent == 1
    drain(sink(at))
    drain(sink(at, "other"))
    drain(READERS["prompt"].open(at))
    assert written_by(at, "out") == ["text 0", "text 1", "text 0"]
    assert written_by(at, "other") == ["text 0", "text 1"]
    assert len(read_all(at.log, topics.prompts(DESK))) == 2
