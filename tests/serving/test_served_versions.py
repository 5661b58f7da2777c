"""Hot swap, in memory and under load."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from headrace.events.answer import Answer
from headrace.events.message import Message
from headrace.foundation.errors import CorruptDataError, NotFoundError, UnavailableError
from headrace.foundation.resource_id import ResourceId
from headrace.serving.answering import AnswerService
from headrace.serving.question import Question, Wishes
from headrace.serving.replica_pool import PoolOptions, ReplicaPool
from headrace.serving.served_versions import ServedVersions
from headrace.serving.version_source import ModelCard, VersionRef

M = ResourceId("StreamFinetuner", "default", "m")


class Aliases:
    """A version source whose alias the test moves."""

    def __init__(self, *versions: VersionRef) -> None:
        self.versions = {version.version: version for version in versions}
        self.served = versions[0].version

    def models(self) -> list[ModelCard]:
        return [ModelCard(M, "m", self.served)]

    def resolve(self, model_name: str) -> VersionRef:
        name, _, version = model_name.partition("@")
        if name not in {"m", M.full_name}:
            raise NotFoundError(f"there is no model {name!r}; did you mean 'm'?")
        return self.versions[version or self.served]


def ref(version: str, path: Path = Path()) -> VersionRef:
    return VersionRef(M, version, path)


def test_a_name_changes_only_when_the_new_version_is_loaded() -> None:
    async def run() -> None:
        source, gate = Aliases(ref("v1"), ref("v2")), asyncio.Event()

        async def prepare(version: VersionRef) -> None:
            if version.version == "v2":
                await gate.wait()

        names = ServedVersions(source, prepare)
        assert (await names.pin("m")).version == "v1"
        source.served = "v2"
        assert (await names.pin("m")).version == "v1"
        gate.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (await names.pin("m")).version == "v2"
        assert (await names.pin("m@v1")).version == "v1"
        assert names.swaps == 1

    asyncio.run(run())


def test_all_names_of_a_model_change_together() -> None:
    async def run() -> None:
        source, prepared = Aliases(ref("v1"), ref("v2")), list[str]()

        async def prepare(version: VersionRef) -> None:
            prepared.append(version.version)

        names = ServedVersions(source, prepare)
        assert [(await names.pin(name)).version for name in ("m", "default/m", "m@v1")] == ["v1"] * 3
        source.served = "v2"
        names.refresh()
        for _ in range(5):
            await asyncio.sleep(0)
        assert [(await names.pin(name)).version for name in ("m", "default/m", "m@v1")] == ["v2", "v2", "v1"]
        assert (names.swaps, names.swaps_of[M], prepared.count("v2")) == (1, 1, 1)

    asyncio.run(run())


def test_a_version_that_cannot_be_loaded_leaves_the_one_before_in_place() -> None:
    async def run() -> None:
        source, tries = Aliases(ref("v1"), ref("v2"), ref("v3")), list[str]()

        async def prepare(version: VersionRef) -> None:
            tries.append(version.version)
            if version.version == "v2":
                raise CorruptDataError("cut off")
            if tries.count("v3") == 1 and version.version == "v3":
                raise UnavailableError("the replica exited")

        names = ServedVersions(source, prepare)
        await names.pin("m")
        for served, expected in (("v2", "v1"), ("v2", "v1"), ("v3", "v1"), ("v3", "v3")):
            source.served = served
            names.refresh()
            for _ in range(5):
                await asyncio.sleep(0)
            assert (await names.pin("m")).version == expected
        assert tries == ["v1", "v2", "v3", "v3"]
        assert names.failed_swaps == 2
        assert isinstance(names.refusal(ref("v2")), CorruptDataError)

    asyncio.run(run())


def test_sixteen_clients_through_swaps_see_no_failure_and_no_answer_of_two_versions(parrots: dict[str, Path]) -> None:
    recorded: list[Answer] = []

    class Sink:
        def refusal(self) -> UnavailableError | None:
            return None

        async def keep(self, model: ResourceId, answers: Mapping[str, Answer]) -> None:
            assert model == M
            recorded.extend(answers.values())

    async def run() -> set[str]:
        source = Aliases(*(ref(letter, path) for letter, path in parrots.items()))
        service = AnswerService(source, {M: ReplicaPool(PoolOptions())}, Sink(), poll_seconds=0.02)
        await service.start()
        seen: set[str] = set()
        stop = asyncio.Event()

        async def client() -> None:
            while not stop.is_set():
                question = Question((Message("user", "hello"),))
                answer = await service.ask("m", [question], Wishes(max_tokens=24))
                async for _, step in answer.steps():
                    assert step.finish_reason in {None, "length"}, step.error
                await answer.close()
                text = "".join(answer.choices[0].text)
                assert text == answer.version.version * 24
                seen.add(answer.version.version)

        clients = [asyncio.create_task(client()) for _ in range(16)]
        for letter in "bcda":
            source.served = letter
            await asyncio.sleep(0.1)
        async with asyncio.timeout(60):
            while service.versions.swaps < 2 or len(seen) < 3:
                source.served = "b" if source.served == "c" else "c"
                await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*clients)
        await service.drain()
        await service.close()
        return seen

    seen = asyncio.run(run())
    assert len(seen) >= 3
    assert {answer.text for answer in recorded} <= {letter * 24 for letter in "abcd"}
    assert all(answer.version * 24 == answer.text and answer.finish_reason == "length" for answer in recorded)


def test_an_unknown_model_is_not_found(parrots: dict[str, Path]) -> None:
    async def prepare(version: VersionRef) -> None:
        return None

    with pytest.raises(NotFoundError, match="did you mean 'm'"):
        asyncio.run(ServedVersions(Aliases(ref("v1")), prepare).pin("n"))
