"""A small HTTP server in a thread that plays a script of good and bad behaviour."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self, cast

import msgspec

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
Behaviour = Literal[
    "ok",
    "rate_limited",
    "server_error",
    "overloaded",
    "slow",
    "cut",
    "malformed",
    "wrong_shape",
    "refusal",
    "content_filter",
    "empty",
    "cut_off",
    "too_long",
    "echo_key",
]
"""`slow` never answers; `cut` closes the connection in mid-body; `malformed` is not JSON; `wrong_shape` is JSON of another
kind; `cut_off` ends at the limit of tokens; `too_long` says the prompt is; `echo_key` is a 400 that repeats the key."""


BILLED: frozenset[Behaviour] = frozenset({"ok", "cut", "refusal", "empty", "cut_off"})
"""Behaviours for which the model has worked."""


@dataclass(frozen=True, slots=True)
class Scripted:
    """One behaviour with what goes with it."""

    behaviour: Behaviour = "ok"
    text: str = "an answer"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to the response, such as `retry-after`."""
    seconds: float = 0.0
    """How long the answer takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> object:
        """The body decoded; None where it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None

    def fields(self) -> Mapping[str, Any]:
        """The body's JSON object; empty where it is none."""
        body = self.json()
        return cast("Mapping[str, Any]", body) if isinstance(body, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answers."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Protocol(ABC):
    """One provider's published protocol."""

    key: str = "sk-test-0123456789abcdef"
    model: str = "test-model"

    @abstractmethod
    def endpoint(self, host: str, port: int) -> str:
        """What a client is given as `endpoint`."""

    @abstractmethod
    def refuse(self, request: Request) -> Reply | None:
        """The error for a request that the provider would not take: path, key, model or shape."""

    @abstractmethod
    def answer(self, request: Request, scripted: Scripted) -> Reply:
        """The reply to a good request under this behaviour; never called for slow, cut, malformed and wrong_shape but with `ok`."""


class ProviderServer:
    """Listens on a free port of 127.0.0.1 while the context lasts."""

    def __init__(self, protocol: Protocol, answer: Callable[[Request], str | Scripted] | None = None) -> None:
        """`answer` makes the text of good answers, or says what becomes of a request; by default the script's."""
        self.protocol = protocol
        self.requests: list[Request] = []
        """Everything that arrived, in order."""
        self.billed: list[Request] = []
        """What the provider bills, from the moment it arrived, whether its answer is received or not."""
        self._answer = answer
        self._script: deque[Scripted] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider-server")
        self._stopping = asyncio.Event()
        self._conversations: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        return self.protocol.endpoint("127.0.0.1", self._port)

    @property
    def key(self) -> str:
        return self.protocol.key

    def script(self, *behaviours: Behaviour | Scripted) -> None:
        """Plays these, one a request, and is good afterwards."""
        self._script = deque(Scripted(item) if isinstance(item, str) else item for item in behaviours)
        self.requests.clear()
        self.billed.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._stopping.set()
        self._server.close()
        for task in list(self._conversations):
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                if not await self._respond(request, reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client went away
        except asyncio.CancelledError:
            return  # the server ends; raised further, the stream's own callback would print it
        finally:
            writer.close()

    async def _respond(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open."""
        refusal = self.protocol.refuse(request)
        if refusal is not None:
            writer.write(_encode(refusal))
            return True
        scripted = self._behaviour(request)
        if scripted.behaviour in BILLED:
            self.billed.append(request)
        if scripted.seconds:
            await asyncio.sleep(scripted.seconds)
        if scripted.behaviour == "slow":
            await reader.read(1)  # until the client gives up
            return False
        data = self._reply(request, scripted)
        if scripted.behaviour == "cut":
            writer.write(data[: len(data) - 20])
            await writer.drain()
            return False
        writer.write(data)
        await writer.drain()
        return True

    def _behaviour(self, request: Request) -> Scripted:
        scripted = self._script.popleft() if self._script else Scripted()
        if self._answer is None or scripted.behaviour != "ok":
            return scripted
        answer = self._answer(request)
        return replace(scripted, text=answer) if isinstance(answer, str) else answer

    def _reply(self, request: Request, scripted: Scripted) -> bytes:
        if scripted.behaviour == "malformed":
            return _encode(Reply(200, b'{"id": "x", "choices": [<html>', scripted.headers))
        if scripted.behaviour == "wrong_shape":
            return _encode(Reply(200, {"ok": True, "content": 7, "candidates": {}}, scripted.headers))
        played = Scripted("ok", scripted.text, scripted.headers) if scripted.behaviour == "cut" else scripted
        reply = self.protocol.answer(request, played)
        return _encode(Reply(reply.status, reply.body, {**reply.headers, **scripted.headers}))


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, query, headers, body)


def _encode(reply: Reply) -> bytes:
    body = reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body)
    headers = {"content-type": "application/json", **reply.headers, "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    phrase = _PHRASES.get(reply.status, "Overloaded")
    return f"HTTP/1.1 {reply.status} {phrase}\r\n{lines}\r\n".encode() + body
