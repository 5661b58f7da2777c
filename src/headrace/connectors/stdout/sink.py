"""Writes records to standard output."""

import sys
from collections.abc import Sequence
from typing import BinaryIO

from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.sink import SinkOptions
from headrace.connectors.stdout.options import Options
from headrace.foundation.errors import FinalError
from headrace.log.record import Record


def open_sink(options: SinkOptions) -> "StdoutSink":
    """Opens standard output as a sink."""
    return StdoutSink(Options.model_validate(dict(options.options)), sys.stdout.buffer)


class StdoutSink:
    """One JSON object per line. Output cannot be taken back: after a kill the lines since the last commit appear again."""

    def __init__(self, options: Options, out: BinaryIO) -> None:
        self._options = options
        self._out = out
        self._lines: list[bytes] = []

    @property
    def names_batches(self) -> bool:
        return False

    def recover(self, prepared: bytes | None) -> None:  # noqa: ARG002 -- printed lines stay printed
        self._lines.clear()

    def write(self, records: Sequence[Record]) -> None:
        self._lines += [outgoing_json(record, metadata=self._options.metadata) + b"\n" for record in records]

    def prepare(self, *, end: bool = False) -> bytes:  # noqa: ARG002 -- there is nothing to close
        lines, self._lines = self._lines, []
        try:
            self._out.writelines(lines)
            self._out.flush()
        except OSError as error:
            raise FinalError(f"cannot write to standard output ({error.strerror})") from error
        return b"{}"

    def publish(self) -> None:
        """Does nothing: `prepare` has printed."""

    def close(self) -> None:
        self._lines.clear()
