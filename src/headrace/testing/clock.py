"""A clock that moves when told."""


class VirtualClock:
    """Starts at a fixed instant; `sleep` moves it and returns at once."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = float(now_ms)

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def sleep(self, seconds: float) -> None:
        self._now_ms += seconds * 1000

    def advance(self, seconds: float) -> None:
        self.sleep(seconds)
