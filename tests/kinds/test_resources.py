"""Resources: what was written, what it means, what is shown, what is stored."""

import json
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.foundation.errors import CorruptDataError, NotFoundError
from headrace.kinds.catalog import Resource, read_text, resource_from_json, resource_to_json
from headrace.kinds.secrets import Secret, SecretNotFoundError, SecretSources, expand, read_secret
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec

QUANTITIES = {
    "{batch}": st.sampled_from(["16", '"16"', "'32'"]),
    "{rate}": st.sampled_from(["0.00005", '"0.00005"', "5e-5"]),
    "{mixed}": st.sampled_from(["true", '"true"', "yes", "off", '"False"']),
    "{interval}": st.sampled_from(["5m", '"5m"', "1h30m", "500ms"]),
    "{memory}": st.sampled_from(["8192m", '"8192m"', "4g", "1024 mb"]),
    "{cpu}": st.sampled_from(["8000m", '"8"', "2", "0.5"]),
}
FINETUNER = """
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {name: desk, labels: {tier: gold}, annotations: {note: "x"}}
spec:
  finetunerInfo: {baseModel: tiny, megaModel: gpt, dataSource: {sourceStreamConnector: questions}}
  finetunerTemplate:
    dataProcessorTemplate: {checkpointingInterval: {interval}, flinkMemorySize: {memory}}
    finetunerResources: {limits: {cpu: {cpu}}}
  promptTemplate: [{userQuestion: "x"}]
  trainer: {batchSize: {batch}, learningRate: {rate}, useMixedPrecision: {mixed}}
"""


def spec_of(resources: list[Resource], kind: str = "StreamFinetuner") -> Any:
    return next(one.spec for one in resources if one.kind == kind)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(values=st.fixed_dictionaries(QUANTITIES))
def test_a_resource_survives_the_state_store(values: dict[str, str], base_text: str) -> None:
    text = FINETUNER
    for mark, value in values.items():
        text = text.replace(mark, value)
    loaded = read_text("---\n".join([base_text.rpartition("---\n")[0], text]), "f.yaml")
    assert loaded.mistakes == []
    for resource in loaded.resources:
        stored = resource_to_json(resource)
        back = resource_from_json(stored)
        assert back == resource
        assert back.spec == resource.spec
        assert back.base_dir == resource.base_dir
        assert resource_to_json(back) == stored
        assert resource_from_json(msgspec.Raw(stored)) == resource


def test_where_it_stands_in_a_file_is_no_part_of_a_resource(base_text: str) -> None:
    one, two = (
        read_text(text, file).resources for text, file in ((base_text, "a.yaml"), ("# moved\n\n" + base_text, "b.yaml"))
    )
    assert one == two
    assert [resource.line + 2 for resource in one] == [resource.line for resource in two]
    assert [resource_to_json(resource) for resource in one] == [resource_to_json(resource) for resource in two]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"kind": "X"}', b"[]"])
def test_bytes_that_are_no_resource_are_corrupt(damage: bytes) -> None:
    with pytest.raises(CorruptDataError):
        resource_from_json(damage)


def test_a_stored_resource_of_a_kind_that_is_not_installed_is_named(resources: list[Resource]) -> None:
    stored = json.loads(resource_to_json(resources[-1]))
    with pytest.raises(
        NotFoundError, match=r"Nothing/[\w-]+ is applied in namespace \w+, but its kind is not installed"
    ):
        resource_from_json(json.dumps({**stored, "kind": "Nothing"}).encode())


def test_a_stored_resource_with_an_unknown_field_is_corrupt(resources: list[Resource]) -> None:
    stored = json.loads(resource_to_json(resources[-1]))
    stored["spec"]["trainer"]["wat"] = 1
    with pytest.raises(CorruptDataError, match=r"trainer\.wat: unknown key 'wat'"):
        resource_from_json(json.dumps(stored).encode())


def test_quoted_numbers_mean_what_bare_ones_do(base_text: str) -> None:
    quoted = base_text.replace("batchSize: 16", 'batchSize: "16"').replace(
        "learningRate: 0.001", 'learningRate: "0.001"'
    )
    quoted = quoted.replace("useMixedPrecision: false", 'useMixedPrecision: "false"')
    assert spec_of(read_text(quoted, "f").resources) == spec_of(read_text(base_text, "f").resources)


def test_pre_processing_may_stand_in_either_place(base_text: str) -> None:
    start, end = base_text.index("  preProcessing:"), base_text.index("  ioSequenceLength")
    block = base_text[start:end]
    moved = base_text.replace(block, "").replace(
        "    finetunerResources:", "    " + "\n    ".join(block.splitlines())[2:] + "\n    finetunerResources:"
    )
    moved = moved.replace("      preProcessing:", "    preProcessing:")
    loaded = read_text(moved, "f.yaml")
    assert loaded.mistakes == []
    spec = cast("StreamFinetunerSpec", spec_of(loaded.resources))
    assert spec.pre_processing is None
    assert spec.processing == spec_of(read_text(base_text, "f").resources).processing
    assert spec.processing.sample_ratio == 0.5


def test_what_a_server_adds_is_left_alone(base_text: str) -> None:
    text = base_text.replace(
        "  name: gpt\n", "  name: gpt\n  uid: abc\n  generation: 3\n  creationTimestamp: 2024-01-01T00:00:00Z\n"
    )
    text = text.replace(
        "---\napiVersion: llm.nstream.ai/v1\nkind: BaseModel",
        "status: {ready: true}\n---\napiVersion: llm.nstream.ai/v1\nkind: BaseModel",
    )
    loaded = read_text(text, "f.yaml")
    assert loaded.mistakes == []
    assert len(loaded.resources) == 4


# Secrets


FORMS = [
    ("sk-very-secret", "**********"),
    ('"${THE_KEY}"', "${THE_KEY}"),
    ('"Bearer ${THE_KEY}"', "**********"),
    ("{file: key.txt}", {"file": "key.txt"}),
    ("{secretRef: {name: openai, key: apikey}}", {"secretRef": {"name": "openai", "key": "apikey"}}),
]


@pytest.mark.parametrize(("written", "shown"), FORMS)
def test_a_secret_is_never_shown_and_its_reference_is(base_text: str, written: str, shown: object) -> None:
    loaded = read_text(base_text.replace("sk-very-secret", written), "f.yaml")
    assert loaded.mistakes == []
    resource = next(one for one in loaded.resources if one.kind == "MegaModel")
    assert resource.shown()["spec"]["modelTemplate"]["openAI"] == {"apikey": shown, "model": "gpt-4o-mini"}
    dumps = [repr(resource), str(resource.spec), repr(resource.spec.model_dump()), resource.spec.model_dump_json()]
    assert "sk-very-secret" not in " ".join(dumps)
    assert "Bearer" not in " ".join(dumps)


def test_every_form_of_a_secret_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("from-file\n", "utf-8")
    mounted = tmp_path / "mounted" / "openai"
    mounted.mkdir(parents=True)
    (mounted / "apikey").write_text("from-secret", "utf-8")
    sources = SecretSources({"THE_KEY": "from-env"}, tmp_path / "mounted")
    given = [
        "literal",
        "${THE_KEY}",
        "a ${THE_KEY} b",
        {"file": "key.txt"},
        {"secretRef": {"name": "openai", "key": "apikey"}},
    ]
    resolved = [read_secret(one).resolve(sources, tmp_path) for one in given]
    assert resolved == ["literal", "from-env", "a from-env b", "from-file", "from-secret"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("${NOPE}", "the environment variable NOPE is not set — Set it: export NOPE=…"),
        ("prefix-${EMPTY}", "the environment variable EMPTY is not set — Set it: export EMPTY=…"),
        ({"file": "no.txt"}, "no.txt cannot be read: No such file or directory — Create the file."),
        ({"file": "empty.txt"}, "empty.txt is empty — Write the secret into it."),
        ({"secretRef": {"name": "a", "key": "b"}}, "the Secret a cannot be looked up here"),
    ],
)
def test_a_secret_that_is_not_there_says_what_to_do(tmp_path: Path, given: Any, message: str) -> None:
    (tmp_path / "empty.txt").write_text("\n", "utf-8")
    with pytest.raises(SecretNotFoundError) as raised:
        read_secret(given).resolve(SecretSources({"EMPTY": ""}), tmp_path)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "given", ["", 5, None, [], {"file": 1}, {"env": "K"}, {"secretRef": {"name": "../x", "key": "k"}}]
)
def test_what_is_no_secret_is_refused_without_being_shown(given: Any) -> None:
    with pytest.raises(ValueError) as raised:
        read_secret(given)
    assert "x" not in str(raised.value).replace("text", "")


@given(st.text())
def test_a_literal_secret_stays_as_it_is_and_out_of_sight(text: str) -> None:
    if "${" in text or not text.strip():
        return
    secret = Secret(text)
    assert expand(text, SecretSources()) == text
    assert repr(secret) == "Secret()"
    assert str(secret) == "**********"


def test_a_resource_whose_secret_is_left_out_can_be_shown() -> None:
    text = (
        "apiVersion: llm.nstream.ai/v1\nkind: MegaModel\nmetadata: {name: gpt}\n"
        "spec: {modelProvider: OpenAI, modelTemplate: {openAI: {model: m, endpoint: 'http://127.0.0.1:1/v1'}}}\n"
    )
    (model,) = read_text(text, "f").resources
    assert model.shown()["spec"]["modelTemplate"] == {"openAI": {"model": "m", "endpoint": "http://127.0.0.1:1/v1"}}
