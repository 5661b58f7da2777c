"""What applying would change, and when each change acts."""

import pytest

from headrace.kinds.catalog import Resource, read_text
from headrace.kinds.plan import Change, plan
from headrace.kinds.reference import rows
from headrace.kinds.registry import KINDS
from headrace.kinds.verdict import VERDICTS


def changed(base_text: str, *changes: tuple[str, str]) -> dict[str, Change]:
    text = base_text
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    loaded = read_text(text, "new.yaml")
    assert loaded.mistakes == []
    return {change.id.kind: change for change in plan(read_text(base_text, "old.yaml").resources, loaded.resources)}


def test_what_was_never_applied_is_created(resources: list[Resource]) -> None:
    changes = plan([], resources)
    assert {change.action for change in changes} == {"create"}
    assert changes[-1].sentence == "StreamFinetuner/desk in default is created"


def test_applying_the_same_again_changes_nothing(resources: list[Resource]) -> None:
    assert {(change.action, change.verdict.text) for change in plan(resources, resources)} == {
        ("unchanged", "no effect")
    }


def test_what_means_the_same_is_no_change(base_text: str) -> None:
    changes = changed(
        base_text, ("batchSize: 16", 'batchSize: "16"\n    epochs: 1'), ("30s", "0.5m"), ("{cpu: 2,", '{cpu: "2000m",')
    )
    assert {change.action for change in changes.values()} == {"unchanged"}


@pytest.mark.parametrize(
    ("kind", "old", "new", "field", "verdict"),
    [
        ("StreamFinetuner", "batchSize: 16", "batchSize: 32", "trainer.batchSize: 16 → 32", "from the next round"),
        ("StreamFinetuner", "  learning:\n", "  teacher: {concurrency: 4}\n  learning:\n", "teacher.concurrency: 16 (default) → 4", "at once"),
        ("StreamFinetuner", "You sort questions.", "You sort.", "promptTemplate[0].systemContext: You sort questions. → You sort.", "from the next record"),
        ("StreamFinetuner", "method: full", "method: lora", "learning.method: full → lora", "needs a reset from model"),
        ("StreamFinetuner", "SELECT id, text, category", "SELECT id, text", "preProcessing.preProcessingSQL: SELECT id, text, category FROM source_stream → SELECT id, text FROM source_stream", "new query"),
        ("StreamConnector", "  key: [id]\n", "  key: [text]\n", 'key: ["id"] → ["text"]', "from the next record"),
        ("StreamConnector", "outOfOrderness: 5s", "outOfOrderness: 9s", "eventTime.outOfOrderness: 5s → 9s", "at once"),
        ("StreamConnector", "{name: text, type: STRING}", "{name: text, type: CHAR(5)}", "schema.text.type: STRING → CHAR(5)", "needs a reset from source"),
        ("StreamConnector", "    - {name: text,", "    - {name: mood, type: STRING}\n    - {name: text,", "schema: asked_at, id, text, category → asked_at, id, mood, text, category", "new query"),
        ("BaseModel", "replicas: 1", "replicas: 2", "baseModelServingTemplate.replicas: 1 → 2", "restart, continues"),
        ("BaseModel", "path: models/tiny", "path: models/other", "baseModelServingInfo.path: models/tiny → models/other", "needs a reset from model"),
        ("MegaModel", "gpt-4o-mini", "gpt-5", "modelTemplate.openAI.model: gpt-4o-mini → gpt-5", "from the next record"),
        ("MegaModel", "sk-very-secret", "sk-other-secret", "modelTemplate.openAI.apikey: ********** → **********", "at once"),
        ("MegaModel", "  name: gpt\n", "  name: gpt\n  labels: {a: b}\n", 'metadata.labels: {} → {"a": "b"}', "no effect"),
    ],
)  # fmt: skip
def test_a_change_is_told_with_its_verdict(
    base_text: str, kind: str, old: str, new: str, field: str, verdict: str
) -> None:
    change = changed(base_text, (old, new))[kind]
    assert (change.action, change.verdict.text) == ("update", verdict)
    assert [str(one) for one in change.fields] == [f"{field} ({verdict})"]
    assert change.verdict.sentence in change.sentence


def test_the_dearest_field_gives_the_verdict_and_names_who_feels_it(base_text: str) -> None:
    change = changed(
        base_text, ("outOfOrderness: 5s", "outOfOrderness: 9s, maxAhead: 1h"), ("{column: asked_at", "{column: id")
    )["StreamConnector"]
    assert change.verdict.text == "needs a reset from source"
    assert change.affects == ("StreamFinetuner/desk",)
    assert [one.command for one in change.resets] == [
        "headrace reset StreamConnector/questions --from source -n default"
    ]
    assert change.sentence.startswith(
        "StreamConnector/questions in default changes in 3 fields; needs a reset from source: "
    )


def test_another_base_model_folder_resets_the_finetuners_that_tune_it(base_text: str) -> None:
    change = changed(base_text, ("path: models/tiny", "path: models/other"))["BaseModel"]
    assert [one.command for one in change.resets] == ["headrace reset StreamFinetuner/desk --from model -n default"]
    assert [one.stage for one in change.resets] == ["train/default.desk"]


def test_a_block_that_comes_is_told_by_its_fields_and_an_empty_one_by_itself(base_text: str) -> None:
    told = changed(
        base_text, ("    megaModel: gpt\n", ""), ("  trainer:\n", "  groundTruth: {column: category}\n  trainer:\n")
    )
    assert [one.path for one in told["StreamFinetuner"].fields] == ["finetunerInfo.megaModel", "groundTruth.column"]


def test_columns_are_told_by_name_wherever_they_stand(base_text: str) -> None:
    told = changed(
        base_text,
        ("    - {name: text, type: STRING}\n    - {name: category, type: STRING}", "    - {name: category, type: STRING}\n    - {name: text, type: STRING}"),
    )["StreamConnector"]  # fmt: skip
    assert [one.path for one in told.fields] == ["schema"]


def test_only_pruning_deletes(resources: list[Resource]) -> None:
    kept = [one for one in resources if one.kind != "BaseModel"]
    assert {change.action for change in plan(resources, kept)} == {"unchanged"}
    gone = plan(resources, kept, prune=True)[-1]
    assert (gone.action, gone.id.kind, gone.affects) == ("delete", "BaseModel", ("StreamFinetuner/desk",))
    assert gone.sentence == "BaseModel/tiny in default is deleted; StreamFinetuner/desk cannot run without it"


VARIANTS = [(kind.name, variant) for kind in KINDS.values() for variant in kind.variants()]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_field_has_one_verdict_of_its_own(name: str, variant: str) -> None:
    kind = KINDS[name]
    assert sorted(leaves(name, variant) - set(kind.verdicts(variant))) == []


@pytest.mark.parametrize("name", KINDS)
def test_every_verdict_is_of_a_field_that_exists(name: str) -> None:
    kind = KINDS[name]
    known = {path for variant in kind.variants() for path in kind.verdicts(variant)}
    there = {path for variant in kind.variants() for path in fields(name, variant)}
    assert sorted(known - there) == []


def test_every_verdict_is_one_of_those_that_the_reference_explains() -> None:
    used = {one.text for name, variant in VARIANTS for one in KINDS[name].verdicts(variant).values()}
    assert used <= {one.text for one in VERDICTS}


def fields(name: str, variant: str) -> set[str]:
    """The paths of a variant, blocks included."""
    found = rows(KINDS[name].variant(variant), KINDS[name], variant=variant)
    return {row.path.partition(" ")[0].replace("[]", "") for row in found}


def leaves(name: str, variant: str) -> set[str]:
    paths = fields(name, variant)
    return {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
