"""Stages within whose steps their process died more than once in a row: each is held back while the others keep running.

A fault that kills a process (a library bug, memory) raises nothing that the stage's thread could catch, and a record that causes it
once causes it every time.
"""

from collections.abc import Collection, Sequence

from headrace.control.stage_thread import BACKOFF_SECONDS
from headrace.stages.stage_spec import StageSpec

HELD_FROM = 2
"""Deaths in a row. The first may have any cause, such as a person's kill."""


class Suspects:
    """The suspects of one role."""

    def __init__(self) -> None:
        self.deaths: dict[str, int] = {}
        """Deaths in a row, by stage: a death outside its steps resets the count."""
        self._until: dict[str, float] = {}

    def died(self, at_work: Collection[str], now: float) -> dict[str, float]:
        """The process died within steps of these stages. Returns those now held back, with the seconds to wait."""
        self.deaths = {name: self.deaths.get(name, 0) + 1 for name in at_work}
        held = {name: _pause(deaths) for name, deaths in self.deaths.items() if deaths >= HELD_FROM}
        self._until |= {name: now + pause for name, pause in held.items()}
        return held

    def allowed(self, specs: Sequence[StageSpec], now: float) -> tuple[StageSpec, ...]:
        """The stages that may run."""
        self._until = {name: until for name, until in self._until.items() if until > now}
        return tuple(one for one in specs if one.name not in self._until)

    @property
    def holds(self) -> bool:
        return bool(self._until)

    def clear(self) -> None:
        """Call when all have run well for a while."""
        self.deaths = {}


def _pause(deaths: int) -> float:
    return BACKOFF_SECONDS[min(deaths, len(BACKOFF_SECONDS) - 1)]
