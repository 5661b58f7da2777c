"""The parent's side of the process that reads HTML and PDFs."""

import select
import struct
import subprocess
import sys
from typing import Literal

import msgspec

from headrace.connectors.documents.document import Document, UnreadableDocumentError
from headrace.connectors.documents.extractor import LENGTH, Answer, Request, send


class Extraction:
    """Starts the process on first use, and restarts it after a file that was too much for it. For one thread."""

    def __init__(self, *, timeout_seconds: float, max_pages: int, max_letters: int) -> None:
        self._timeout = timeout_seconds
        self._max_pages, self._max_letters = max_pages, max_letters
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, kind: Literal["html", "pdf"], data: bytes, stem: str) -> Document:
        """A file's document. UnreadableDocumentError, also if extraction takes too long or kills the process."""
        answer = self._ask(Request(kind, data, self._max_pages, self._max_letters))
        if answer.code:
            raise UnreadableDocumentError(answer.code, answer.reason)
        title = answer.title.strip() or stem
        return Document(title, answer.body, "markdown" if kind == "html" else "plain", answer.fields)

    def _ask(self, request: Request) -> Answer:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, request)
            if not select.select([process.stdout], [], [], self._timeout)[0]:
                self.close()
                raise UnreadableDocumentError("too_slow", f"extracting its text takes longer than {self._timeout:g} s")
            size = LENGTH.unpack(process.stdout.read(LENGTH.size))[0]
            return msgspec.msgpack.decode(process.stdout.read(size), type=Answer)
        except (BrokenPipeError, struct.error, msgspec.DecodeError) as error:
            self.close()
            raise UnreadableDocumentError("unreadable", "it crashed the process that extracts its text") from error

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            command = [sys.executable, "-m", "headrace.connectors.documents.extractor"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1)
        return self._process

    def close(self) -> None:
        """Stops the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # input it no longer read
        process.wait()
