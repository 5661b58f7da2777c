"""The example's teacher: a small server that speaks the OpenAI protocol and answers `intent | team`.

    python teacher_server.py --port 8700 --policy routing.md

It knows the recorded human labels of BANKING77's questions (`data/`). The team of each intent it takes from the passages in its
prompt (`--passages`): a section named for the intent, with a line `Team: NAME.`; where none of them names it, the question goes to
the desk. Without `--passages` the team comes from a Markdown table (`--policy`), which it reads again whenever the file changes. The question is taken from the last user message: the whole
message, else one of its lines (with or without a label such as `Question:`), else the longest recorded question that the
message contains. A question that was never recorded gets the intent of the recorded one with which it shares most words,
rare words counting more; so a person's own questions are answered too.

Needs the standard library alone. Any key is accepted. Ends with status 0 on Ctrl-C.
"""

import argparse
import asyncio
import csv
import gzip
import json
import math
import re
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = "support-desk"
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    500: "Internal Server Error",
}
TABLE_LINE = re.compile(r"^\s*\|([^|]+)\|([^|]+)\|\s*$")
LABELLED_LINE = re.compile(r"^\s*[\w ]{1,30}:\s*(.+)$")
SECTION = re.compile(r"^## (\w+)\s+(?:(?!^## ).)*?^Team: (\w+)\.", re.MULTILINE | re.DOTALL)
NOBODY = "desk"
"""Who answers what no passage assigns."""
TOKEN = re.compile(r"\w+|[^\w\s]")
WORD = re.compile(r"[a-z0-9']+")


class BadRequestError(Exception):
    """What the client sent cannot be answered: an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Labels:
    """The recorded questions with their intents."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            self._intents = {normalised(line["text"]): line["intent"] for line in csv.DictReader(file)}
        self._longest_first = sorted(self._intents, key=len, reverse=True)
        self._by_word: dict[str, list[str]] = defaultdict(list)
        for question in self._intents:
            for word in set(WORD.findall(question)):
                self._by_word[word].append(question)

    def __len__(self) -> int:
        return len(self._intents)

    def intent(self, message: str) -> str:
        """The intent of the question in `message`; the nearest one's where it was never recorded."""
        question = self._recorded(message) or self._nearest(message)
        return self._intents[question]

    def _recorded(self, message: str) -> str | None:
        for candidate in candidates(message):
            if candidate in self._intents:
                return candidate
        text = normalised(message)
        return next((question for question in self._longest_first if question in text), None)

    def _nearest(self, message: str) -> str:
        """Largest sum of log(n / questions with the word) over shared words, divided by √(words of the question)."""
        scores: dict[str, float] = defaultdict(float)
        for word in sorted(set(WORD.findall(normalised(question_line(message))))):
            questions = self._by_word.get(word, ())
            for question in questions:
                scores[question] += math.log(len(self._intents) / len(questions))
        if not scores:
            return self._longest_first[-1]
        return max(scores, key=lambda question: (scores[question] / math.sqrt(len(WORD.findall(question))), question))


class Policy:
    """Intent → team, from a Markdown table; read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._teams: dict[str, str] = {}
        self._refresh()
        if not self._teams:
            raise SystemExit(f"{path}: no line of the form '| intent | team |'")

    def team(self, intent: str, _message: str = "") -> str:
        """The team of an intent by the file as it is now."""
        self._refresh()
        if intent not in self._teams:
            raise BadRequestError(500, f"{self._path.name} names no team for {intent}")
        return self._teams[intent]

    def _refresh(self) -> None:
        """Reads the file where it changed; while an editor replaces it, the last one stands."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            teams = read_table(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if self._stamp is None:
                raise SystemExit(f"{self._path}: there is no such file") from None
            return
        if teams:
            self._teams, self._stamp = teams, stamp


class Passages:
    """Intent → team, from the passages of the prompt itself."""

    def team(self, intent: str, message: str) -> str:
        """The team of the section that is named for the intent."""
        return dict(SECTION.findall(message)).get(intent, NOBODY)


def read_table(text: str) -> dict[str, str]:
    """The two-column table of a Markdown text, without its heading and its rule."""
    rows = [match for match in map(TABLE_LINE.match, text.splitlines()) if match]
    pairs = [(row[1].strip().strip("`"), row[2].strip().strip("`")) for row in rows]
    return {intent: team for intent, team in pairs if intent != "intent" and not set(intent) <= set("-: ")}


def normalised(text: str) -> str:
    """Single spaces, lower case."""
    return " ".join(text.split()).lower()


def candidates(message: str) -> Iterator[str]:
    """What may be the question: the message, then each line from the last, with its label and without."""
    yield normalised(message)
    for line in reversed(message.splitlines()):
        yield normalised(line)
        if match := LABELLED_LINE.match(line):
            yield normalised(match[1])


def question_line(message: str) -> str:
    """The last line that is labelled `Question:`, else the whole message."""
    labelled = re.findall(r"(?im)^\s*(?:customer |user )?question:\s*(.+)$", message)
    return labelled[-1] if labelled else message


class Teacher:
    """Answers requests of the OpenAI protocol."""

    def __init__(self, labels: Labels, policy: Policy | Passages, delay_seconds: float) -> None:
        self._labels = labels
        self._policy = policy
        self._delay_seconds = delay_seconds
        self._answered = 0

    async def respond(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and JSON body of one request."""
        try:
            if path == "/v1/chat/completions":
                require(method == "POST", 405, "use POST")
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                return 200, encode(self._complete(body))
            require(path == "/v1/models", 404, f"there is no {path}; use /v1/chat/completions or /v1/models")
            require(method == "GET", 405, "use GET")
        except BadRequestError as error:
            return error.status, encode(error_body(str(error), error.status))
        return 200, encode(
            {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "headrace-example"}]}
        )

    def _complete(self, body: bytes) -> dict[str, object]:
        request = parse(body)
        messages = request["messages"]
        message = last_user_message(messages)
        intent = self._labels.intent(message)
        answer = f"{intent} | {self._policy.team(intent, message)}"
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        text, tokens = cut(answer, limit if isinstance(limit, int) else None)
        asked = sum(len(TOKEN.findall(content_text(message))) for message in messages)
        self._answered += 1
        return {
            "id": f"chatcmpl-{self._answered}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": str(request.get("model") or MODEL),
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop" if text == answer else "length",
                }
            ],
            "usage": {"prompt_tokens": asked, "completion_tokens": tokens, "total_tokens": asked + tokens},
        }


def require(condition: bool, status: int, message: str) -> None:
    """Raises BadRequestError unless the condition holds."""
    if not condition:
        raise BadRequestError(status, message)


def parse(body: bytes) -> dict[str, object]:
    """The request's JSON, its shape checked as far as it is used."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise BadRequestError(400, f"the body is not JSON: {error}") from None
    require(isinstance(request, dict), 400, "the body must be a JSON object")
    messages = request.get("messages")
    require(isinstance(messages, list) and bool(messages), 400, "'messages' must be a list with at least one message")
    require(
        all(isinstance(message, dict) for message in messages),
        400,
        "each message must be an object with role and content",
    )
    require(not request.get("stream"), 400, "'stream' is not supported here")
    return request


def last_user_message(messages: list[dict[str, object]]) -> str:
    """The text of the last message whose role is user."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return content_text(message)
    raise BadRequestError(400, "there is no message with the role user")


def content_text(message: dict[str, object]) -> str:
    """A message's text, whether content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def cut(answer: str, limit: int | None) -> tuple[str, int]:
    """The answer's first `limit` tokens and their number; a token is a word or a mark."""
    tokens = list(TOKEN.finditer(answer))
    if limit is None or len(tokens) <= limit:
        return answer, len(tokens)
    return answer[: tokens[limit - 1].end()] if limit > 0 else "", max(limit, 0)


def error_body(message: str, status: int) -> dict[str, object]:
    """An error in OpenAI's shape."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def encode(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


async def converse(teacher: Teacher, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the requests of one connection, one after the other, until the client goes away."""
    try:
        while (head := await read_head(reader)) is not None:
            method, path, headers = head
            status, body, keep = 400, b"", False
            try:
                request = await read_body(reader, writer, headers)
            except BadRequestError as error:
                status, body = error.status, encode(error_body(str(error), error.status))
            else:
                status, body = await teacher.respond(method, path, request)
                keep = headers.get("connection", "").lower() != "close"
            writer.write(response(status, body, keep))
            await writer.drain()
            if not keep:
                return
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return  # the client is gone, or does not speak HTTP
    except asyncio.CancelledError:
        return  # the server ends; raised further, the stream's own callback would print it
    finally:
        writer.close()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    """Method, path without query, headers in lower case; None where the connection ended between requests."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return method, path, headers


async def read_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]) -> bytes:
    """The body, by Content-Length or in chunks; BadRequestError 413 where it is longer than MAX_BODY_BYTES."""
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await read_chunks(reader)
    try:
        length = int(headers.get("content-length", "0"))
    except ValueError:
        raise BadRequestError(400, "Content-Length is not a number") from None
    require(0 <= length <= MAX_BODY_BYTES, 413, f"the body may have {MAX_BODY_BYTES} bytes")
    return await reader.readexactly(length)


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body, its trailers dropped."""
    parts: list[bytes] = []
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadRequestError(400, "a chunk's size is not a number") from None
        require(sum(map(len, parts)) + size <= MAX_BODY_BYTES, 413, f"the body may have {MAX_BODY_BYTES} bytes")
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)


def response(status: int, body: bytes, keep: bool) -> bytes:
    """Status line, headers and body."""
    connection = "keep-alive" if keep else "close"
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: {connection}\r\n\r\n"
    return head.encode() + body


async def serve(teacher: Teacher, host: str, port: int, print_port: bool) -> None:
    """Serves until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    conversations: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        task.add_done_callback(conversations.discard)
        await converse(teacher, reader, writer)

    server = await asyncio.start_server(accept, host, port, limit=MAX_HEAD_BYTES)
    address = server.sockets[0].getsockname()[1]
    print(f"the example's teacher answers at http://{host}:{address}/v1", file=sys.stderr, flush=True)
    if print_port:
        print(address, flush=True)
    await stop.wait()
    server.close()
    for task in conversations:
        task.cancel()
    await asyncio.gather(*conversations, return_exceptions=True)


def main() -> None:
    """Reads the command line, loads the labels and serves."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8700, help="0 takes a free one (default 8700)")
    parser.add_argument(
        "--policy",
        type=Path,
        default=HERE / "routing.md",
        help="Markdown table of intent and team, read again when it changes",
    )
    parser.add_argument("--passages", action="store_true", help="takes the teams from the passages of each prompt")
    parser.add_argument(
        "--labels", type=Path, default=HERE / "data" / "banking77-20-labels.csv.gz", help="CSV of text and intent, gzip"
    )
    parser.add_argument(
        "--delay-ms", type=float, default=0.0, help="waits this long before each answer, as a real teacher would"
    )
    parser.add_argument("--print-port", action="store_true", help="prints the port on stdout once the server answers")
    args = parser.parse_args()
    teacher = Teacher(Labels(args.labels), Passages() if args.passages else Policy(args.policy), args.delay_ms / 1000)
    asyncio.run(serve(teacher, args.host, args.port, args.print_port))


if __name__ == "__main__":
    main()
