"""The last question of the stream with three answers: the base's, the served version's, the teacher's."""

import threading
from collections.abc import Sequence

import httpx
from rich.text import Text

from headrace.events.message import Message
from headrace.foundation.resource_id import ResourceId
from headrace.stages.serve.options import DoorOptions, ServedModel
from headrace.stages.topology import Topology


def ask_gateway(address: str, model: str, messages: Sequence[Message], api_key: str | None = None) -> str:
    """One answer of the running gateway. httpx.HTTPError where it does not answer."""
    body = {"model": model, "max_tokens": 32, "messages": [{"role": m.role, "content": m.content} for m in messages]}
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    response = httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=10.0)
    response.raise_for_status()
    text = str(response.json()["choices"][0]["message"]["content"])
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


class ThreeAnswers:
    """Asks in a thread of its own, so that the screen never waits."""

    def __init__(self, topology: Topology, doors: DoorOptions) -> None:
        self._models, self._doors = topology.options(ServedModel), doors
        self._lock = threading.Lock()
        self._shown: tuple[str, str, str, str] | None = None
        self._thread: threading.Thread | None = None

    def ask(self, model: ResourceId, messages: Sequence[Message], teacher: str) -> None:
        """Asks both models the stream's last question, unless the last asking is still under way."""
        served = next((one for one in self._models if one.id == model), None)
        if served is None or not messages or (self._thread and self._thread.is_alive()):
            return
        self._thread = threading.Thread(
            target=self._ask,
            args=(model, served.base_model, list(messages), teacher),
            daemon=True,
        )
        self._thread.start()

    def _ask(self, model: ResourceId, base: ResourceId, messages: list[Message], teacher: str) -> None:
        address = f"http://{self._doors.host}:{self._doors.port}"
        try:
            answers = [ask_gateway(address, one.full_name, messages, self._doors.api_key) for one in (base, model)]
        except (httpx.HTTPError, KeyError, ValueError):
            return  # the gateway is still starting; the next refresh asks again
        with self._lock:
            self._shown = (messages[-1].content, answers[0], answers[1], teacher)

    def draw(self) -> Text:
        with self._lock:
            shown = self._shown
        if shown is None:
            return Text("")
        question, base, served, teacher = shown
        text = Text(f"“{question[-160:]}”\n", style="italic")
        text.append(f"    base: {base[:100]}\n", style="dim")
        text.append(f"  served: {served[:100]}\n", style="green" if served == teacher else "red")
        text.append(f" teacher: {teacher[:100]}")
        return text

    def stop(self) -> None:
        if self._thread:
            self._thread.join(timeout=2.0)
