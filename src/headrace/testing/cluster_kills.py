"""Kills on a cluster: `headrace run` on Kafka and Flink while its servers and its own roles are killed, each by SIGKILL."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from headrace.cluster import LocalCluster
from headrace.events import topics
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.topology import Topology
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.stage import OpenLearner
from headrace.stages.train.train_state import read_train_state
from headrace.testing.builders import read_all
from headrace.testing.pipeline import Pipeline

SERVERS = ("taskmanager", "jobmanager", "broker")
ROLES = ("ingest", "transform", "label", "train")
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Struck:
    """What was killed, and when."""

    what: str
    after_seconds: float


class Assassin:
    """Kills one thing after the other at random moments; servers are started again, roles by their supervisor."""

    def __init__(self, cluster: LocalCluster, supervisor: int, seed: int) -> None:
        """`supervisor`: the process whose children are the roles."""
        self._cluster, self._supervisor, self._draw = cluster, supervisor, random.Random(seed)
        self.struck: list[Struck] = []

    def strike(self, targets: Sequence[str], *, pause: tuple[float, float], alive: Callable[[], bool]) -> None:
        """Each target once, in a random order, with a pause of so many seconds before each; ends early where the run has ended."""
        started = SYSTEM_CLOCK.monotonic()
        for what in self._draw.sample(list(targets), len(targets)):
            SYSTEM_CLOCK.sleep(self._draw.uniform(*pause))
            if not alive():
                return
            if what in SERVERS:
                self._cluster.kill(what)
                SYSTEM_CLOCK.sleep(self._draw.uniform(0.1, 1.0))
                self._cluster.start(what)
            elif not self._kill_role(what):
                continue
            self.struck.append(Struck(what, SYSTEM_CLOCK.monotonic() - started))

    def _kill_role(self, role: str) -> bool:
        """The n-th role's process, by the order in which the supervisor starts them. False: it does not run just now."""
        children = sorted(psutil.Process(self._supervisor).children(), key=lambda one: (one.create_time(), one.pid))
        if not children:
            return False
        children[ROLES.index(role) % len(children)].kill()
        return True


def replayed_weights(
    examples: Sequence[Record], topology: Topology, log: TopicLog, state: Path, learner: OpenLearner | None = None
) -> str | None:
    """The digest of the weights that a trainer reaches from recorded examples, on a log and a state of its own.

    `topology`: with one trainer; its other stages are left out. `learner`: opens the trainer's; None: PyTorch's.
    """
    (trainer,) = topology.options(TrainOptions)
    topic = topics.examples(trainer.id)
    log.ensure_topic(TopicSpec(topic))
    log.commit(Commit([Append(topic, [_new(record) for record in examples])]))
    alone = topology.only(("train",))
    with Pipeline(alone, state, learner=learner) as pipeline:
        pipeline.run(max_turns=100_000)
    trained = read_train_state(log, trainer.id)
    return trained.weights_sha256 if trained else None


def contents(log: TopicLog, topic: str) -> list[tuple[object, ...]]:
    """A topic's records without place and time of arrival, sorted: equal for the same multiset."""
    found = [
        (one.id, one.kind, one.key, one.value, one.event_time)
        for one in read_all(log, topic)
        if one.kind != "control/1"
    ]
    return sorted(found)


def _new(record: Record) -> NewRecord:
    return NewRecord(
        record.id, record.kind, record.value, record.event_time, record.key, record.origin, record.ingested_at
    )
