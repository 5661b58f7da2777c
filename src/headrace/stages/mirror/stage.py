"""mirror: scores, decisions and versions → MLflow, for people who look there; nothing is ever decided by it.

Its own group's offsets say how far it has come, so that `run --until-idle` ends with everything mirrored and retention waits.
"""

import os
from pathlib import Path

from headrace.events import topics
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.log.topic_log import Commit, GroupOffset, TopicLog
from headrace.promotion.mlflow import MlflowMirror
from headrace.stages.mirror.options import MirrorOptions
from headrace.stages.stage import take_lease
from headrace.stages.train import version_store

NICE = 19
PAUSE_SECONDS = 2.0


class MirrorStage:
    """Owns `mirror/NAMESPACE.FINETUNER`. Opening MLflow takes seconds and much work: its process steps back before others."""

    def __init__(
        self, options: MirrorOptions, log: TopicLog, holder: str, state: Path, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        os.nice(max(0, NICE - os.nice(0)))
        self.name = f"mirror/{options.id.path_name}"
        self._options, self._log, self._state, self._clock = options, log, state, clock
        self._topics = (
            topics.scores(options.id),
            topics.decisions(options.id),
        )
        self._lease = take_lease(log, self.name, holder)
        self._mirror: MlflowMirror | None = None
        self._next_at = 0.0

    def step(self) -> bool:
        known = {info.spec.name: info.end_offset for info in self._log.topics()}
        if any(topic not in known for topic in self._topics) or self._clock.monotonic() < self._next_at:
            return False
        ends = [(topic, known[topic]) for topic in self._topics]
        if all(self._log.offset(self.name, topic) >= end for topic, end in ends):
            return False
        self._mirror = self._mirror or MlflowMirror(self._state / "mlflow.db", self._options.id)
        folder = version_store.versions_folder(self._state, self._options.id)
        self._mirror.catch_up(self._log, folder)
        offsets = [GroupOffset(self.name, topic, end) for topic, end in ends]
        self._log.commit(Commit(offsets=offsets, lease=self._lease))
        self._next_at = self._clock.monotonic() + PAUSE_SECONDS
        return True

    def close(self) -> None:
        """Holds nothing that the next opening would miss."""
