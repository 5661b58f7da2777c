"""Mirrors curves, versions and decisions into MLflow on SQLite, for display only. It never affects a decision.

Everything written is a function of the records only and overwrites itself, so mirroring the same records again
changes nothing, and a mirror killed midway resumes from its own progress, kept in the run's tags. One run per
finetuner in the experiment `headrace`; a curve's step is the example's offset; a version is a version of the registered model
`NAMESPACE.NAME`, identified by its tag `headrace.version`. Opening a new store takes seconds: do it outside the stream's path.
"""

import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.events import codec, topics
from headrace.events.decision import Decision
from headrace.events.score import Score
from headrace.foundation.errors import CorruptDataError
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import Record
from headrace.log.topic_log import TopicLog
from headrace.promotion.registry import BASE, Registry, Version, load

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

BUCKET = 50
"""Scores per point of a curve: records 0 to 49 of the topic, 50 to 99 …"""
BATCH = 900
"""Metrics per call; MLflow accepts up to 1,000."""
READ = 5_000
"""Records per read: many buckets."""
EXPERIMENT = "headrace"


def _client(store: Path) -> "MlflowClient":
    """Opens the store without MLflow's telemetry and log output.

    CorruptDataError if it cannot be opened, as after a kill during table creation: it is only a projection, so it is removed,
    and the next process creates a new one (MLflow keeps its connections open for the life of a process).
    """
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_DISABLE_AGENT_HINT"):
        os.environ[name] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    store.parent.mkdir(parents=True, exist_ok=True)
    address = f"sqlite:///{store}"
    try:
        return MlflowClient(tracking_uri=address, registry_uri=address)
    except Exception as error:
        for file in store.parent.glob(f"{store.name}*"):
            file.unlink()
        raise CorruptDataError(
            f"{store} could not be opened and was removed: {error}",
            next_step="open it again in a new process; everything is then mirrored again",
        ) from error


class MlflowMirror:
    """One finetuner's mirror. Not thread-safe."""

    def __init__(self, store: Path, finetuner: ResourceId) -> None:
        """`store`: the SQLite file, created if needed; several finetuners share it."""
        self.client = _client(store)
        """For inspecting the store besides mirroring."""
        self._artifacts = store.parent / "mlflow-artifacts"
        self._finetuner, self._name = finetuner, finetuner.path_name
        self.run_id = self._find_run()

    def catch_up(self, log: TopicLog, checkpoints: Path) -> None:
        """Mirrors everything in the log that the mirror lacks: scores, decisions, then the registry. The topics must exist.

        `checkpoints`: the folder with one directory per version digest.
        """
        scores = topics.scores(self._finetuner)
        start = self.next_offset("scores")
        while (reached := self.scores(log.read(scores, start, max_records=READ))) > start:
            start = reached
        decisions = topics.decisions(self._finetuner)
        while records := log.read(decisions, self.next_offset("decisions"), max_records=READ):
            self.decisions(records)
        if found := load(log, self._finetuner):
            self.registry(found[0], checkpoints)

    def next_offset(self, topic: str) -> int:
        """Where to resume: the first offset of `scores` or `decisions` that is not yet mirrored."""
        tags = self.client.get_run(self.run_id).data.tags
        return int(tags.get(f"headrace.next.{topic}", "0"))

    def scores(self, records: Iterable[Record]) -> int:
        """Averages whole buckets of the scores topic into points; the rest waits. Returns the offset to resume from."""
        buckets: dict[int, list[Record]] = defaultdict(list)
        for record in records:
            buckets[record.offset // BUCKET].append(record)
        complete = [number for number in sorted(buckets) if self._is_whole(number, buckets)]
        points = [point for number in complete for point in _points(buckets[number])]
        for start in range(0, len(points), BATCH):
            self.client.log_batch(self.run_id, metrics=points[start : start + BATCH])
        return self._advance("scores", (complete[-1] + 1) * BUCKET) if complete else self.next_offset("scores")

    def decisions(self, records: Sequence[Record]) -> int:
        """Each decision as a tag, its bound as metrics at its last example. Returns the offset to resume from."""
        from mlflow.entities import RunTag

        for record in records:
            if not codec.is_data(record):
                continue
            decision = codec.decode(record, Decision)
            text = f"{decision.kind} {decision.subject}: {decision.reason}"
            tag = RunTag(f"headrace.decision.{record.offset:06d}", text[:5000])
            self.client.log_batch(self.run_id, metrics=_bounds(decision, record.event_time), tags=[tag])
        return self._advance("decisions", records[-1].offset + 1) if records else self.next_offset("decisions")

    def registry(self, registry: Registry, checkpoints: Path) -> None:
        """Versions as versions of the registered model, the alias as alias `served`; pruned versions keep their entry."""
        mirrored = self._versions()
        for version in registry.versions:
            if version.name != BASE and version.name not in mirrored:
                mirrored[version.name] = self._create_version(version, checkpoints)
        self.client.set_registered_model_tag(self._name, "headrace.served", registry.served)
        for alias, name in (("served", registry.served), ("previous", registry.previous)):
            if name in mirrored:
                self.client.set_registered_model_alias(self._name, alias, mirrored[name])
            else:
                self.client.delete_registered_model_alias(self._name, alias)

    def _is_whole(self, number: int, buckets: Mapping[int, Sequence[Record]]) -> bool:
        """Whether all of a bucket was read, although offsets may have gaps.

        It must have been read up to its last record or into a later bucket; and from its first record, from where the mirror stopped, or from
        an earlier bucket.
        """
        held = buckets[number]
        ended = held[-1].offset % BUCKET == BUCKET - 1 or max(buckets) > number
        begun = held[0].offset % BUCKET == 0 or min(buckets) < number or self.next_offset("scores") == number * BUCKET
        return ended and begun

    def _find_run(self) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            made = self.client.create_experiment(EXPERIMENT, artifact_location=self._artifacts.as_uri())
        else:
            made = experiment.experiment_id
        runs = self.client.search_runs([made], filter_string=f"tags.`headrace.finetuner` = '{self._name}'")
        if runs:
            return runs[0].info.run_id
        tags = {"headrace.finetuner": self._name}
        return self.client.create_run(made, run_name=self._name, tags=tags).info.run_id

    def _advance(self, topic: str, offset: int) -> int:
        """Advances the progress; mirroring an older batch again does not move it back."""
        reached = max(offset, self.next_offset(topic))
        self.client.set_tag(self.run_id, f"headrace.next.{topic}", str(reached))
        return reached

    def _versions(self) -> dict[str, str]:
        """MLflow's number of each mirrored version, by name; creates the registered model if needed."""
        if not self.client.search_registered_models(filter_string=f"name = '{self._name}'"):
            self.client.create_registered_model(self._name)
        found = self.client.search_model_versions(f"name = '{self._name}'", max_results=1000)
        return {version.tags["headrace.version"]: str(version.version) for version in found}

    def _create_version(self, version: Version, checkpoints: Path) -> str:
        tags = {
            "headrace.version": version.name,
            "headrace.parent": version.parent or "",
            "headrace.cutOffset": str(version.cut_offset),
            "headrace.weightsSha256": version.weights_sha256,
            "headrace.reason": version.evidence.reason if version.evidence else "",
        }
        source = (checkpoints / version.digest).as_uri()
        made = self.client.create_model_version(self._name, source=source, run_id=self.run_id, tags=tags)
        return str(made.version)


def _points(records: Sequence[Record]) -> list["Metric"]:
    """A bucket's means, per model and kind of score, at the offset of its last example."""
    from mlflow.entities import Metric

    values: dict[str, list[float]] = defaultdict(list)
    scores = [codec.decode(record, Score) for record in records if codec.is_data(record)]
    if not scores:
        return []
    for score in scores:
        values["exact.majority"].append(float(score.majority_exact))
        for model in score.models:
            values[f"exact.{model.model}"].append(float(model.exact))
            values[f"loss.{model.model}"].append(model.loss)
            values[f"metric.{model.model}"].append(model.metric)
    step, moment = scores[-1].offset, records[-1].event_time
    return [Metric(name, sum(held) / len(held), moment, step) for name, held in values.items()]


def _bounds(decision: Decision, moment: int) -> list["Metric"]:
    from mlflow.entities import Metric

    metrics = [Metric(f"decision.{decision.kind}", 1.0, moment, decision.last_offset)]
    if decision.difference is not None:
        bound = decision.difference
        sides = {"mean": bound.mean, "lower": bound.lower, "upper": bound.upper}
        metrics += [Metric(f"difference.{side}", value, moment, decision.last_offset) for side, value in sides.items()]
    if decision.anchors is not None:
        metrics.append(Metric("anchors.mean", decision.anchors.mean, moment, decision.last_offset))
    return metrics
