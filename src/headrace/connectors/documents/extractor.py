"""The process that reads HTML and PDFs, isolated so that a file that never finishes or exhausts memory affects nothing else.

Requests and answers are MessagePack with their length in front. The process ends with its parent, or when its input ends.
"""

import os
import resource
import signal
import struct
import sys
from typing import IO, BinaryIO, Literal

import msgspec

from headrace.connectors.documents.document import UnreadableDocumentError
from headrace.foundation.parent import die_with_parent

MOST_MEMORY = 2 << 30
LENGTH = struct.Struct("<Q")


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A file to read."""

    kind: Literal["html", "pdf"]
    data: bytes
    max_pages: int
    max_letters: int


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The document, or why there is none."""

    code: str = ""
    """Empty: success."""
    reason: str = ""
    title: str = ""
    body: str = ""
    fields: dict[str, str] = {}


def answer(request: Request) -> Answer:
    """Reads one file."""
    try:
        title, body, fields = _read(request)
    except UnreadableDocumentError as error:
        return Answer(error.code, error.message)
    except (UnicodeDecodeError, LookupError) as error:
        return Answer("invalid_utf8", f"the page is not in its declared charset: {error}")
    except RecursionError:
        return Answer("too_deep", "it nests too deeply")
    except MemoryError:
        return Answer("too_large", f"extracting its text takes more than {MOST_MEMORY >> 20} MiB of memory")
    except Exception as error:  # noqa: BLE001 - a parser may fail in any way; the dead letter reports it
        reason = str(error).split("\n", maxsplit=1)[0][:500]
        return Answer(f"broken_{request.kind}", f"it cannot be read: {reason or type(error).__name__}")
    if not body.strip():
        return Answer("no_text", "it contains no text")
    return Answer("", "", _clean(title), _clean(body), {_clean(name): _clean(text) for name, text in fields.items()})


def _clean(text: str) -> str:
    """Drops lone surrogates and NUL."""
    return text.encode(errors="replace").decode().replace("\0", "")


def _read(request: Request) -> tuple[str, str, dict[str, str]]:
    if request.kind == "html":
        from headrace.connectors.documents.html_text import read_html

        return read_html(request.data)
    from headrace.connectors.documents.pdf_text import read_pdf

    return read_pdf(request.data, request.max_pages, request.max_letters)


def send(stream: IO[bytes], message: Request | Answer) -> None:
    """Writes one message."""
    data = msgspec.msgpack.encode(message)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def _serve(given: BinaryIO, taken: BinaryIO) -> None:
    while len(head := given.read(LENGTH.size)) == LENGTH.size:
        request = msgspec.msgpack.decode(given.read(LENGTH.unpack(head)[0]), type=Request)
        send(taken, answer(request))


def main() -> None:
    """Serves standard input until it ends."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    taken = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's output must not mix with the answers
    _serve(sys.stdin.buffer, taken)


if __name__ == "__main__":
    main()
