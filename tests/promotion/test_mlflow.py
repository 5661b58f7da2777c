"""The mirror, against a real MLflow store: complete, and the same however often it is written."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from headrace.events import codec, topics
from headrace.events.decision import Bound, Decision
from headrace.events.score import ModelScore, Score
from headrace.log.record import NewRecord, Record
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicSpec
from headrace.promotion.mlflow import BUCKET, EXPERIMENT, MlflowMirror
from headrace.promotion.registry import Registry, Version, save
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import finetuner_id

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def record(offset: int, payload: msgspec.Struct) -> Record:
    return Record(offset, f"id{offset}", codec.kind_of(payload), codec.encode(payload), 1000 + offset, "", "", 1)


def scores(start: int, end: int) -> list[Record]:
    """Every fourth example right; the learner's loss falls."""
    return [
        record(
            i, Score(f"e{i}", f"r{i}", 2 * i, "a", False, [ModelScore("learner", "", i % 4 == 0, 10 / (i + 1), 0.5)])
        )
        for i in range(start, end)
    ]


def decisions() -> list[Record]:
    won = Decision(
        "promoted", "v1", "better than v0", 10, 90, Bound(0.1, 0.02, 0.2, 80, 0.05), Bound(0.0, 0.0, 0.0, 60, 0.0)
    )
    return [record(0, Decision("cut", "candidate-1", "tried", 9, 9)), record(1, won)]


def version(number: int) -> Version:
    return Version(f"v{number}", f"digest{number}", "v0", 50 * number, 5, f"sha{number}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracking") / "mlflow.db"


@pytest.fixture(scope="module")
def mirror(store: Path) -> MlflowMirror:
    return MlflowMirror(store, finetuner_id("desk"))


def everything(mirror: MlflowMirror) -> object:
    """All that the store holds of the run and the model, as plain data."""
    client = mirror.client
    run = client.get_run(mirror.run_id)
    curves = {
        name: sorted(
            (point.step, point.timestamp, point.value) for point in client.get_metric_history(mirror.run_id, name)
        )
        for name in sorted(run.data.metrics)
    }
    versions = sorted(
        (found.version, tuple(sorted(found.tags.items())), tuple(found.aliases))
        for found in client.search_model_versions("name = 'default.desk'")
    )
    return curves, dict(run.data.tags), versions


def test_curves_are_means_of_whole_buckets_at_the_examples_offset(mirror: MlflowMirror) -> None:
    assert mirror.next_offset("scores") == 0
    assert mirror.scores(scores(0, 2 * BUCKET + 7)) == 2 * BUCKET
    points = sorted(mirror.client.get_metric_history(mirror.run_id, "exact.learner"), key=lambda point: point.step)
    assert [point.step for point in points] == [2 * (BUCKET - 1), 2 * (2 * BUCKET - 1)]
    assert points[0].value == pytest.approx(13 / 50)
    assert mirror.scores(scores(2 * BUCKET, 3 * BUCKET)) == 3 * BUCKET, "the rest was read again, whole"
    assert mirror.scores([]) == 3 * BUCKET


def test_versions_and_the_alias_are_those_of_the_registry(mirror: MlflowMirror, tmp_path: Path) -> None:
    registry = Registry.of_base("", "sha0", 0)
    mirror.registry(registry, tmp_path)
    registry = registry.with_version(version(1)).promote("v1").with_version(version(2)).promote("v2")
    mirror.registry(registry, tmp_path)
    served = mirror.client.get_model_version_by_alias("default.desk", "served")
    assert served.tags["headrace.version"] == "v2"
    assert served.tags["headrace.weightsSha256"] == "sha2"
    mirror.registry(registry.promote("v0"), tmp_path)
    assert mirror.client.get_registered_model("default.desk").tags["headrace.served"] == "v0"
    assert "served" not in mirror.client.get_registered_model("default.desk").aliases
    mirror.registry(registry, tmp_path)


def test_decisions_are_tags_and_bounds(mirror: MlflowMirror) -> None:
    assert mirror.decisions(decisions()) == 2
    run = mirror.client.get_run(mirror.run_id)
    assert run.data.tags["headrace.decision.000001"] == "promoted v1: better than v0"
    assert run.data.metrics["difference.lower"] == 0.02


def test_mirroring_the_same_again_changes_nothing(mirror: MlflowMirror, store: Path, tmp_path: Path) -> None:
    registry = Registry.of_base("", "sha0", 0).with_version(version(1)).with_version(version(2)).promote("v2")

    def mirror_all(target: MlflowMirror) -> None:
        target.scores(scores(0, 3 * BUCKET))
        target.decisions(decisions())
        target.registry(registry, tmp_path)

    mirror_all(mirror)
    before = everything(mirror)
    mirror_all(mirror)
    mirror.scores(scores(20, BUCKET + 30))
    again = MlflowMirror(store, finetuner_id("desk"))
    mirror_all(again)
    assert everything(again) == before


def test_a_mirror_catches_up_with_the_log_from_where_it_stopped(
    store: Path, tmp_path: Path, clock: VirtualClock
) -> None:
    log = open_log(tmp_path, clock=clock)
    score_topic, decision_topic = topics.scores(finetuner_id("log")), topics.decisions(finetuner_id("log"))
    for topic in (score_topic, decision_topic):
        log.ensure_topic(TopicSpec(topic))

    def append(topic: str, records: list[Record]) -> None:
        log.commit(Commit([Append(topic, [NewRecord(one.id, one.kind, one.value, one.event_time) for one in records])]))

    append(score_topic, scores(0, BUCKET + 10))
    append(decision_topic, decisions())
    key, value, expected = save(
        Registry.of_base("", "sha0", 0).with_version(version(1)).promote("v1"), finetuner_id("log"), 0
    )
    log.commit(Commit(state={key: value}, expect={key: expected}))
    first = MlflowMirror(store, finetuner_id("log"))
    first.catch_up(log, tmp_path)
    assert (first.next_offset("scores"), first.next_offset("decisions")) == (BUCKET, 2)
    append(score_topic, scores(BUCKET + 10, 2 * BUCKET))
    second = MlflowMirror(store, finetuner_id("log"))
    for _ in range(2):
        second.catch_up(log, tmp_path)
    assert len(second.client.get_metric_history(second.run_id, "exact.learner")) == 2
    assert second.client.get_model_version_by_alias("default.log", "served").tags["headrace.version"] == "v1"
    log.close()


def test_two_finetuners_share_a_store_without_seeing_each_other(mirror: MlflowMirror, store: Path) -> None:
    other = MlflowMirror(store, finetuner_id("claims"))
    other.scores(scores(0, BUCKET))
    assert other.run_id != mirror.run_id
    experiment = other.client.get_experiment_by_name(EXPERIMENT)
    assert experiment
    names = {run.info.run_name for run in other.client.search_runs([experiment.experiment_id])}
    assert names >= {"default.desk", "default.claims"}


def test_a_process_that_trains_does_not_load_mlflow() -> None:
    code = "import sys, headrace.promotion.gate, headrace.promotion.mlflow; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
