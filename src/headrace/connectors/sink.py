"""The port to a sink."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headrace.foundation.resource_id import ResourceId
from headrace.log.record import Record


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What every sink is opened with; `options` is the type's own YAML block, already validated."""

    id: ResourceId
    type: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    base_dir: Path = Path()
    input: str = ""
    """The topic being read: the offsets that the sink remembers belong to it."""


class Sink(Protocol):
    """Writes the records of one topic out, in order, in two phases, so that a restart neither loses nor duplicates any.

    The stage calls `write` any number of times, then `prepare`, commits the returned bytes together with its offset, then calls
    `publish`. After a restart it calls `recover(last committed bytes)` before the first write: anything prepared and committed
    is published now (again, harmlessly), and anything written after it is discarded.
    A sink without two phases (stdout, webhook) publishes in `prepare` and sends each record's id, so that the receiver can drop repeats.
    """

    @property
    def names_batches(self) -> bool:
        """The receiver knows several records by one name, made of what is in the batch: after a kill the same records must be
        written before `prepare` as before it. The stage then commits how far it has read before it writes.
        """
        ...

    def recover(self, prepared: bytes | None) -> None: ...

    def write(self, records: Sequence[Record]) -> None:
        """Accepts data records (no control records). UnavailableError: the same records will be written again."""
        ...

    def prepare(self, *, end: bool = False) -> bytes:
        """Makes everything written so far durable and returns how to find it. `end`: the input is complete, so close what is open."""
        ...

    def publish(self) -> None:
        """Makes what was prepared visible, by renaming."""
        ...

    def close(self) -> None: ...


OpenSink = Callable[[SinkOptions], Sink]
"""The signature of the entry point group `headrace.sinks`."""
