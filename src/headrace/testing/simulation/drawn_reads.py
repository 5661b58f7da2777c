"""How much of a topic a stage gets at each read."""

import random
from typing import Any

from headrace.log.record import Record
from headrace.log.topic_log import TopicLog


class DrawnReads:
    """The log, of which a stage gets at each read a drawn number of records, or none yet. Else the log itself."""

    def __init__(self, log: TopicLog, draw: random.Random) -> None:
        self._log, self._draw = log, draw
        self.whole = False
        """Everything there is is given."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(self, topic: str, offset: int, *, max_records: int = 10_000, **limits: int) -> list[Record]:
        at_most = max_records if self.whole else self._draw.choice((0, 1, 3, 10, max_records))
        return self._log.read(topic, offset, max_records=min(max_records, at_most), **limits) if at_most else []
