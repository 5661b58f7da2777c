"""Fields of a MegaModel, and of how a finetuner asks it: prompts are asked at servers that speak the providers' protocols."""

import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from pathlib import Path
from typing import Any

from headrace.events import topics
from headrace.events.dead_letter import DeadLetter
from headrace.events.example import Example
from headrace.log.topic_log import TopicSpec
from headrace.teachers.answer_store import kept
from headrace.teachers.desk import PROBE
from headrace.testing.builders import append, new_record
from headrace.testing.provider_servers import (
    AnthropicProtocol,
    AzureProtocol,
    GeminiProtocol,
    OpenAIProtocol,
    ProviderServer,
    Request,
    Scripted,
)
from headrace.testing.resource_ids import finetuner_id

from .case import Case, Feed, Setting
from .house import House
from .learners import DESK, SPEC, docs

LEAD, CHIEF = "MegaModel/lead", "MegaModel/chief"
OTHER_KEY, OTHER_MODEL, OTHER_VERSION = "sk-test-another-0123456789", "other-model", "2024-06-01"
PROTOCOLS = {
    "OpenAI": (OpenAIProtocol, "openAI", "model"),
    "AzureOpenAI": (AzureProtocol, "azureOpenAI", "deployment"),
    "Anthropic": (AnthropicProtocol, "anthropic", "model"),
    "Gemini": (GeminiProtocol, "gemini", "model"),
}
ROWS = topics.rows(finetuner_id("desk"))


def _rows(house: House, *words: str) -> None:
    start = house.extra.setdefault("rows", 0)
    records = [
        new_record(f"r{number}", f'{{"text":"{word} {number}","team":"cards"}}'.encode())
        for number, word in enumerate(words, start)
    ]
    house.log.ensure_topic(TopicSpec(ROWS))
    append(house.log, ROWS, records)
    house.extra["rows"] = start + len(words)


def feed(house: House) -> None:
    _rows(house, "my", "my")


class _Wide:
    """Takes another key and another model, too."""

    def __init__(self, kind: Any) -> None:
        self.first, self.second = kind(), kind()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first, name)

    def refuse(self, request: Request) -> Any:
        """What no combination of the keys, models and versions would take."""
        return self._under(self.first.key, self.first.model, request) and self._mixed(request)  # None: it is taken

    def _mixed(self, request: Request) -> Any:
        return self._under(OTHER_KEY, self.first.model, request) and self._under(self.first.key, OTHER_MODEL, request)

    def _under(self, key: str, model: str, request: Request) -> Any:
        self.second.key, self.second.model = key, model
        self.second.api_version = OTHER_VERSION if OTHER_VERSION in request.query else AzureProtocol.api_version
        return self.second.refuse(request)


class _Watched(ProviderServer):
    """Counts how many calls are under way together, and when each came."""

    active = most = 0

    def __init__(self, provider: str, answer: Any = None) -> None:
        super().__init__(_Wide(PROTOCOLS[provider][0]), answer)  # type: ignore[arg-type]
        self.moments: list[float] = []

    async def _respond(self, request: Request, reader: StreamReader, writer: StreamWriter) -> bool:
        self.moments.append(time.monotonic())
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            return await super()._respond(request, reader, writer)
        finally:
            self.active -= 1


def _server(provider: str, answer: Any = None) -> _Watched:
    return _Watched(provider, answer).__enter__()


def _mega(provider: str, server: ProviderServer) -> dict[str, Any]:
    _, block, model = PROTOCOLS[provider]
    template = {"apikey": server.key, "endpoint": server.endpoint, model: server.protocol.model}
    more = {"apiVersion": AzureProtocol.api_version} if provider == "AzureOpenAI" else {}
    return {"modelProvider": provider, "modelTemplate": {block: template | more}}


def _open(
    provider: str = "OpenAI", answer: Any = None, *, second: str = "", price: float = 0.0, waits: float = 0.0
) -> Any:
    """`second`: the provider of the other server."""

    def opened(folder: Path, base: Path) -> House:
        servers = [_server(provider, answer), _server(second or provider)]
        spec = {
            **SPEC,
            "finetunerInfo": {**SPEC["finetunerInfo"], "megaModel": "lead"},
            "promptTemplate": [{"userQuestion": "{text}"}],
        }
        del spec["groundTruth"]
        prices = {"price": {"inputPerMillion": price, "outputPerMillion": price}}
        both = {LEAD: _mega(provider, servers[0]) | prices, CHIEF: _mega(second or provider, servers[1])}
        house = House(
            folder, {**docs(base), DESK: spec, **both}, kinds=frozenset({"prompt", "label"}), waits=waits,
            ends=[lambda one=one: one.__exit__(None, None, None) for one in servers],
        )  # fmt: skip
        house.extra["servers"] = servers
        return house

    return opened


def asked(house: House, server: int = 0) -> list[Request]:
    """Questions, without probes."""
    return [one for one in house.extra["servers"][server].requests if PROBE[0].content.encode() not in one.body]


def _counts(house: House) -> tuple[int, int]:
    return len(asked(house)), len(asked(house, 1))


def examples(house: House) -> list[Example]:
    return house.decoded("desk.examples", Example)


def letters(house: House) -> Counter[str]:
    return Counter(one.code for one in house.decoded("desk.dead.label", DeadLetter))


def _spent(house: House) -> Any:
    return house.progress("label")["usd"]


def _mega_case(
    provider: str,
    path: str,
    change: Any,
    see: Any,
    before: Any,
    after: Any,
    feeding: Feed = feed,
    answer: Any = None,
    **given: Any,
) -> Case:
    variant = provider if path.startswith("modelTemplate") else ""
    return Case(
        "MegaModel",
        path,
        Setting(_open(provider, answer), feeding),
        change,
        see,
        before,
        after,
        given,
        variant=variant,
        of=LEAD,
    )


def _mega_cases() -> list[Case]:
    found: list[Case] = []
    for provider, (_, block, model) in PROTOCOLS.items():
        place = f"modelTemplate.{block}"

        def to_other(house: House, place: str = place) -> dict[str, Any]:
            return {f"{place}.endpoint": house.extra["servers"][1].endpoint}

        found += [
            _mega_case(provider, f"{place}.apikey", {f"{place}.apikey": OTHER_KEY}, lambda h: [OTHER_KEY in str(one.headers) + one.query for one in asked(h)], [False] * 2, [False] * 2 + [True] * 2),
            _mega_case(provider, f"{place}.endpoint", to_other, _counts, (2, 0), (2, 2)),
            _mega_case(provider, f"{place}.{model}", {f"{place}.{model}": OTHER_MODEL}, lambda h: [OTHER_MODEL in one.path + one.body.decode() for one in asked(h)], [False] * 2, [False] * 2 + [True] * 2),
        ]  # fmt: skip
    return found


MEGA = (
    *_mega_cases(),
    _mega_case("AzureOpenAI", "modelTemplate.azureOpenAI.apiVersion", {"modelTemplate.azureOpenAI.apiVersion": OTHER_VERSION}, lambda h: [OTHER_VERSION in one.query for one in asked(h)],
               [False] * 2, [False] * 2 + [True] * 2),
    _mega_case("OpenAI", "price.inputPerMillion", {"price.inputPerMillion": 1e6}, _spent, 0, lambda _, now: now > 0),
    _mega_case("OpenAI", "price.outputPerMillion", {"price.outputPerMillion": 1e6}, _spent, 0, lambda _, now: now > 0),
)  # fmt: skip


def _another_provider(house: House) -> dict[str, Any]:
    found = house.docs[CHIEF]
    return {"modelProvider": found["modelProvider"], "modelTemplate": found["modelTemplate"]}


def _slow(_: Request) -> Scripted:
    return Scripted("ok", "an answer", seconds=0.2)


def _rejects(_: Request) -> Scripted:
    return Scripted("echo_key")


def _poisoned(request: Request) -> str | Scripted:
    """One question makes the provider fail, the others are answered."""
    return Scripted("echo_key") if b"poison" in request.body else "an answer"


def _poison(house: House) -> None:
    _rows(house, "my", "poison", "my")


def _eight(house: House) -> None:
    for server in house.extra["servers"]:
        server.most = 0
        server.moments.clear()
    _rows(house, *["my"] * 8)


def _seconds(house: House) -> float:
    """Between the first call and the last."""
    moments = house.extra["servers"][0].moments
    return moments[-1] - moments[0]


def _reason(house: House) -> str:
    return house.conditions("label")["TeacherAvailable"].reason


def _kept(house: House) -> int:
    """Answers in the store, an hour later."""
    house.clock.advance(3_600)
    return kept(house.settings.state / "teachers.sqlite", finetuner_id("desk")).outcomes


def _use(path: str, value: Any, see: Any, before: Any, after: Any, setting: Setting, **given: Any) -> Case:
    place = f"teacher.{path}"
    return Case("StreamFinetuner", place, setting, {place: value}, see, before, after, {f"teacher.{name}": one for name, one in given.items()}, of=DESK)  # fmt: skip


def _answered(house: House) -> int:
    return len(examples(house))


USE = (
    Case("MegaModel", "modelProvider", Setting(_open(second="Anthropic"), feed), _another_provider, _counts, (2, 0), (2, 2), of=LEAD),
    Case("MegaModel", "timeout", Setting(_open(answer=_slow), feed), {"timeout": "10s"}, _answered, 0, 4, {"timeout": "50ms"}, of=LEAD),
    Case("StreamFinetuner", "finetunerInfo.megaModel", Setting(_open(), feed), {"finetunerInfo.megaModel": "chief"}, _counts, (2, 0), (2, 2)),
    _use("concurrency", 1, lambda h: h.extra["servers"][0].most, lambda now: now > 1, 1, Setting(_open(answer=_slow), _eight)),
    _use("requestsPerMinute", 600, _seconds, None, lambda was, now: now > max(0.5, was), Setting(_open(), _eight)),
    _use("budget.tokens", 100_000, _answered, 0, 4, Setting(_open(), feed), budget={"tokens": 1}),
    _use("budget.usd", 1e9, _answered, 0, 4, Setting(_open(price=1e6), feed), budget={"usd": 0.001}),
    _use("unavailableTimeout", "1h", _reason, "UnavailableTimeout", "Rejected", Setting(_open(answer=_rejects, waits=700.0), feed)),
    _use("maxAttempts", 4, lambda h: sum(b"poison" in one.body for one in asked(h)), 2, 6, Setting(_open(answer=_poisoned), _poison), maxAttempts=2),
    _use("answerCache.keep", "1s", _kept, 2, 2, Setting(_open(), feed)),
    _use("answerCache.maxBytes", 1, _kept, 2, 2, Setting(_open(), feed)),
)  # fmt: skip
CASES = (*MEGA, *USE)
