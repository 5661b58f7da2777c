"""Applied resources: where literal secrets may lie."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from headrace.control.resource_store import ResourceStore
from headrace.foundation.errors import InvalidDeclarationError
from headrace.kinds.catalog import Resource, read_text
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog

TEACHER = """
apiVersion: llm.nstream.ai/v1
kind: MegaModel
metadata: {name: gpt}
spec:
  modelProvider: OpenAI
  modelTemplate:
    openAI: {apikey: KEY, model: gpt-4o-mini}
"""
SECRET = "sk-very-secret"


def teacher(key: str) -> list[Resource]:
    loaded = read_text(TEACHER.replace("KEY", key), "teacher.yaml", "/")
    assert loaded.mistakes == []
    return loaded.resources


@pytest.fixture
def shared(kafka_address: str, tmp_path: Path) -> Generator[TopicLog]:
    options = {"kafka": kafka_address, "kafka_prefix": f"r{uuid4().hex[:8]}."}
    with closing(open_log(tmp_path, technology="kafka", options=options)) as log:
        yield log


def test_a_log_that_is_shared_between_machines_never_gets_a_literal_secret(shared: TopicLog) -> None:
    store = ResourceStore(shared)

    with pytest.raises(InvalidDeclarationError) as raised:
        store.apply(teacher(SECRET), 0)

    said = str(raised.value)
    assert said.startswith("MegaModel/gpt: ")
    assert "apikey is a literal secret" in said
    assert "Use ${ENV}, {file: PATH} or {secretRef:" in said
    assert SECRET not in said
    assert store.all() == []
    for key in ("'${OPENAI_API_KEY}'", "{file: key.txt}", "{secretRef: {name: openai, key: apikey}}"):
        store.apply(teacher(key), 0)
        assert [resource.name for resource in store.all()] == ["gpt"]


def test_the_log_of_one_machine_keeps_a_literal_secret_in_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    with closing(open_log(state)) as log:
        ResourceStore(log).apply(teacher(SECRET), 0)
        holding = [one for one in state.iterdir() if SECRET.encode() in one.read_bytes()]

        assert holding
        assert {one.stat().st_mode & 0o777 for one in holding} == {0o600}
        assert state.stat().st_mode & 0o777 == 0o700
