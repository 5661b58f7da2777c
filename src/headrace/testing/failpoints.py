"""A kill in process: at a named failpoint everything stops, as after SIGKILL, and nothing more is committed.

What a real kill leaves behind is what was durable at that moment. Here the same holds, because from the moment of the kill every
failpoint raises, those before and within each commit of the log included. A code path that catches `Exception` does not see it.
"""

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import ClassVar

from headrace.foundation import failpoints


class Killed(BaseException):
    """The process is dead from here on."""


COMMITS = (
    "ingest.commit", "ingest.confirm", "ingest.idle", "transform.begin", "transform.commit", "prompt.commit", "label.commit",
    "train.registry", "train.reask", "train.commit", "sink.commit", "sink.publish", "log.commit", "store.put", "teacher.reserve",
    "teacher.answer", "teacher.renew", "serve.commit",
)  # fmt: skip
"""Everything that a stage makes durable; each has a point before and a point after it."""

NAMES = (
    *(f"{name}.{side}" for name in COMMITS for side in ("before", "after")),
    "log.commit.within",
    "teacher.commit.within",
    "sink.prepared",
    "sink.renamed",
)
"""All failpoints of the main job."""


class Kill:
    """Counts how often each failpoint is passed, and strikes at one of them."""

    strikes: ClassVar[int] = 0
    """Of all kills of this process: whoever catches `Killed`, it shows that one struck."""

    def __init__(self, name: str = "", nth: int = 0) -> None:
        """Without a name it counts and never strikes."""
        self.name, self.nth = name, nth
        self.passed: Counter[str] = Counter(dict.fromkeys(NAMES, 0))
        self.struck = False

    def pass_by(self, name: str) -> None:
        """Called by every armed failpoint."""
        self.passed[name] += 1
        if name == self.name and self.passed[name] == self.nth:
            self.struck = True
        if self.struck:
            Kill.strikes += 1
            raise Killed(f"{self.name}:{self.nth}")


@contextmanager
def killing(kill: Kill, names: Iterable[str] = NAMES) -> Generator[Kill]:
    """Arms every failpoint with `kill`, while the context lasts. The caller that steps the stages sees `Killed`."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(failpoints.armed(name, lambda name=name: kill.pass_by(name)))
        yield kill
