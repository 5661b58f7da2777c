"""What a stage is opened in: the log, the state directory and the technologies behind the ports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.settings import Settings
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog


@dataclass(frozen=True, slots=True)
class Backends:
    """The technologies behind the ports, with what each needs; may hold secrets."""

    log: str = "sqlite"
    log_options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    streams: str = "duckdb"
    stream_options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    suspend_jobs: bool = False
    """Jobs on a cluster are stopped with a savepoint when the process ends; otherwise they run on."""

    def open_log(self, state: Path) -> TopicLog:
        """The log of a state directory."""
        return open_log(state, technology=self.log, options=self.log_options, clock=SYSTEM_CLOCK)


EMBEDDED = Backends()


def backends_of(settings: Settings, *, suspend_jobs: bool = False) -> Backends:
    """What a process's settings say."""
    return Backends(settings.log, settings.log_options, settings.streams, settings.stream_options, suspend_jobs)


@dataclass(frozen=True, slots=True)
class StageContext:
    """What every stage may use."""

    log: TopicLog
    holder: str
    """Who takes the leases."""
    state: Path
    backends: Backends = EMBEDDED
    clock: Clock = SYSTEM_CLOCK
