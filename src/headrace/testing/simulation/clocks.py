"""The clocks of a simulated job. None moves by itself."""

from headrace.testing.clock import VirtualClock


class WorldClock(VirtualClock):
    """Moves with what happens outside and with nothing else, so that arrivals have the same moments in every run."""

    def sleep(self, seconds: float) -> None:
        """Returns at once."""

    def reach(self, now_ms: int) -> None:
        """It is so late now."""
        super().sleep((now_ms - self.now_ms()) / 1000)


class WaitingClock:
    """One stage's: the time of day is the world's; how long it has waited is its own."""

    def __init__(self, world: WorldClock) -> None:
        self._world, self._waited = world, 0.0

    def now_ms(self) -> int:
        return self._world.now_ms()

    def monotonic(self) -> float:
        return self._waited

    def sleep(self, seconds: float) -> None:
        self._waited += seconds
