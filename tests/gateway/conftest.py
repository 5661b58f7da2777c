"""A gateway with real replicas behind a real socket."""

import asyncio
import socket
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import openai
import pytest
import uvicorn
from fastapi import FastAPI

from headrace.doors.gateway.app import create_app
from headrace.doors.gateway.server import build_server
from headrace.events.answer import Answer, Feedback
from headrace.foundation.errors import NotFoundError, UnavailableError
from headrace.foundation.resource_id import ResourceId
from headrace.models.tiny import new_checkpoint
from headrace.serving.answering import AnswerService
from headrace.serving.grounding import Grounding
from headrace.serving.question import ModelSettings
from headrace.serving.replica_pool import PoolOptions, ReplicaPool
from headrace.serving.replica_process import ReplicaOptions
from headrace.serving.version_source import ModelCard, VersionRef
from headrace.testing.parrot_checkpoint import new_parrot

DESK, NARROW = (ResourceId("StreamFinetuner", "default", name) for name in ("desk", "narrow"))
TINY = ResourceId("BaseModel", "default", "tiny")
TEXT = ["you are kind. hello world, how are you today? fine, thank you.", "the quick brown fox 12 345 6789"]


@dataclass
class Versions:
    """Names to directories: `desk` moves between two versions, `narrow` has one place and a queue of one."""

    root: Path
    served: str = "v1"

    def models(self) -> list[ModelCard]:
        return [
            ModelCard(DESK, "desk", self.served, 1_700_000_000_000, "tiny"),
            ModelCard(NARROW, "narrow", "v1"),
            ModelCard(TINY, "tiny", "base"),
        ]

    def resolve(self, model_name: str) -> VersionRef:
        name, _, version = model_name.partition("@")
        paths = {"v1": "tiny", "v2": "parrot", "base": "tiny"}
        version = version or {"desk": self.served, "narrow": "v2", "tiny": "base"}.get(name, "")
        if name not in {"desk", "narrow", "tiny"} or version not in paths:
            raise NotFoundError(f"there is no model {model_name!r}; the nearest are desk, tiny")
        return VersionRef({"desk": DESK, "narrow": NARROW, "tiny": TINY}[name], version, self.root / paths[version])


@dataclass
class Recorder:
    """Keeps what it is given."""

    answers: dict[str, Answer] = field(default_factory=dict)
    feedback: list[Feedback] = field(default_factory=list)

    def refusal(self) -> UnavailableError | None:
        return None

    async def keep(self, model: ResourceId, answers: Mapping[str, Answer]) -> None:
        self.answers |= answers

    async def give(self, feedback: Feedback) -> None:
        if feedback.answer_id not in self.answers:
            raise NotFoundError(f"there is no answer {feedback.answer_id!r}")
        self.feedback.append(feedback)


class Served:
    """An application behind a socket, in a thread."""

    def __init__(self, app: FastAPI) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server: uvicorn.Server = build_server(app)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self._socket])))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class Gateway(Served):
    """With fake versions and recorder, real replicas; `pools` may be looked at."""

    def __init__(self, root: Path, api_key: str | None = None, grounding: Grounding | None = None) -> None:
        self.versions, self.recorder = Versions(root), Recorder()
        narrow = PoolOptions(replica=ReplicaOptions(max_batch=1), max_queue=1)
        self.pools = {DESK: ReplicaPool(PoolOptions()), NARROW: ReplicaPool(narrow), TINY: ReplicaPool(PoolOptions())}
        grounded = {"user_question": "hello {knowledge} how are {text}?", "grounded": True} if grounding else {}
        settings = {DESK: ModelSettings(system_context="you are kind.", input_max=200, output_max=12, **grounded)}
        self.service = AnswerService(
            self.versions, self.pools, self.recorder, settings, grounding=grounding, poll_seconds=0.02
        )
        super().__init__(create_app(self.service, feedback_sink=self.recorder, api_key=api_key, drain_seconds=5))


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("versions")
    new_checkpoint(root / "tiny", size="tiny", text=TEXT)
    new_parrot(root / "parrot", "z")
    return root


@pytest.fixture(scope="session")
def gateway(root: Path) -> Generator[Gateway]:
    with Gateway(root) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def open_gateway() -> type[Gateway]:
    """For tests that start one of their own."""
    return Gateway


@pytest.fixture(scope="session")
def served() -> type[Served]:
    """Puts an application behind a socket."""
    return Served
