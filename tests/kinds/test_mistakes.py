"""Every mistake is found in one pass, with its place, and says what would be right."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.kinds.catalog import load, read_text

from .mistakes import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(base_text: str, case: Case) -> None:
    assert base_text.count(case.old) == 1
    loaded = read_text(base_text.replace(case.old, case.new), "base.yaml")
    told = [str(mistake) for mistake in loaded.mistakes]
    assert len(told) == len(case.lines)
    for line, expected in zip(told, case.lines, strict=True):
        assert line.startswith(expected[:-1]) if expected.endswith("…") else line == expected


def test_there_are_cases() -> None:
    assert len(CASES) >= 60


def test_all_mistakes_of_all_files_come_in_one_pass(base_text: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        text = base_text.replace("batchSize: 16", "batchSize: lots").replace("SELECT id, text", "SELECT id, txt")
        text = text.replace("baseModel: tiny", "baseModel: tinny").replace(
            "\nmetadata:", f"\nmetadata:\n  namespace: {name}"
        )
        (tmp_path / f"{name}.yaml").write_text(text + "---\nkind: [\n", "utf-8")
    found = [(Path(mistake.file).name, mistake.path, mistake.message[:30]) for mistake in load([tmp_path]).mistakes]
    expected = [
        ("StreamFinetuner/desk: spec.finetunerInfo.baseModel", "there is no BaseModel 'tinny' "),
        ("StreamFinetuner/desk: spec.preProcessing.preProcessingSQL", "the query is wrong: there is n"),
        ("StreamFinetuner/desk: spec.trainer.batchSize", "'lots' is not a whole number; "),
        ("", "not YAML: while parsing a flow"),
    ]
    assert found == [(name, *one) for name in ("a.yaml", "b.yaml") for one in expected]


def test_a_resource_that_was_applied_before_may_be_named(base_text: str) -> None:
    applied = read_text(base_text, "base.yaml").resources
    finetuner = base_text.rpartition("---\n")[2]
    assert [mistake.message for mistake in read_text(finetuner, "f.yaml").mistakes] == [
        "there is no BaseModel 'tiny' in namespace default",
        "there is no StreamConnector 'questions' in namespace default",
        "there is no MegaModel 'gpt' in namespace default",
    ]
    assert read_text(finetuner, "f.yaml", existing=applied).mistakes == []


def test_a_secret_stands_in_no_mistake(base_text: str) -> None:
    secret = "sk-very-secret"
    for old, new in [
        (secret, f"{{{secret}: 1}}"),
        (f"apikey: {secret}", f"apikey: [{secret}]"),
        (f"apikey: {secret}", f"apikey: {{file: {secret}, more: 1}}"),
        (f"apikey: {secret}", f"apikey: {secret}\n      modl: x"),
    ]:
        loaded = read_text(base_text.replace(old, new), "base.yaml")
        assert loaded.mistakes
        assert secret not in "\n".join(str(mistake) for mistake in [*loaded.mistakes, *loaded.warnings])


def test_a_secret_in_capitals_is_allowed_and_told(base_text: str) -> None:
    loaded = read_text(base_text.replace("sk-very-secret", "SECRET_KEY"), "base.yaml")
    assert loaded.mistakes == []
    assert [str(warning) for warning in loaded.warnings] == [
        "base.yaml:26:15: MegaModel/gpt: spec.modelTemplate.openAI.apikey: looks like a placeholder from the sample — Use ${ENV} instead."
    ]


def test_an_answer_in_its_own_question_is_told(base_text: str) -> None:
    text = base_text.replace("    megaModel: gpt\n", "").replace(
        "  trainer:\n", "  groundTruth: {column: category}\n  trainer:\n"
    )
    loaded = read_text(text.replace("{text}", "{text} {category}"), "base.yaml")
    assert loaded.mistakes == []
    assert [warning.message for warning in loaded.warnings] == ["the question contains the answer {category}"]


def test_a_circle_of_several_is_told_at_each_of_them(base_text: str) -> None:
    finetuner = (
        base_text.rpartition("---\n")[2]
        .replace("    megaModel: gpt\n", "")
        .replace("SELECT id, text, category", "SELECT question AS text")
    )
    texts = [
        finetuner.replace("name: desk", f"name: {name}").replace(
            "sourceStreamConnector: questions", f"sourceStreamFinetuner: {other}"
        )
        for name, other in (("one", "two"), ("two", "three"), ("three", "one"), ("four", "one"))
    ]
    loaded = read_text("---\n".join([base_text, *texts]), "base.yaml")
    assert [mistake.message for mistake in loaded.mistakes] == [
        "finetuners read each other in a cycle: one → two → three → one",
        "finetuners read each other in a cycle: two → three → one → two",
        "finetuners read each other in a cycle: three → one → two → three",
    ]


QUESTIONS = '{"asked_at": "2024-01-01T00:00:00Z", "id": 1, "text": "Where is my card?", "category": "card"}\n'


def test_a_schema_that_is_left_out_is_looked_up_in_the_file(base_text: str, tmp_path: Path) -> None:
    start, end = base_text.index("  schema:"), base_text.index("  key: [id]")
    text = (base_text[:start] + base_text[end:]).replace("this? {text}", "this? {txt}")
    assert read_text(text, "f.yaml", str(tmp_path)).mistakes == []
    (tmp_path / "questions.jsonl").write_text(QUESTIONS, "utf-8")
    (mistake,) = read_text(text, "f.yaml", str(tmp_path)).mistakes
    assert mistake.message == "the query returns no column 'txt'"
    assert (mistake.nearest, mistake.valid_values) == ("text", ("id", "text", "category"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**7) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
        ["", "tiny", "desk", "gpt", "${K}", "5m", "8Gi", "SELECT", "SELECT * FROM source_stream", "{text}", "BATCH_SIZE", "é", "source", "sink"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "type", "file", "path", "a", "column"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [above, *(place for key, item in value.items() for place in _places(item, (*above, key)))]
    if isinstance(value, list):
        return [above, *(place for index, item in enumerate(value) for place in _places(item, (*above, index)))]
    return [above]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_gives_resources_and_mistakes_and_nothing_else(base_text: str, data: st.DataObject) -> None:
    documents = [json.loads(json.dumps(one, default=str)) for one in yaml.safe_load_all(base_text)]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([place for place in _places(documents) if len(place) > 1]))
        target = documents
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = data.draw(JSON)
    loaded = read_text(yaml.safe_dump_all(documents, sort_keys=False), "f.yaml")
    for mistake in [*loaded.mistakes, *loaded.warnings]:
        assert mistake.file == "f.yaml"
        assert mistake.line >= 1
        assert str(mistake)
    assert len(loaded.resources) == len(documents) or loaded.mistakes


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_arbitrary_text_gives_mistakes_and_nothing_else(text: str) -> None:
    loaded = read_text(text, "f.yaml")
    assert loaded.resources == []
