"""What applying would change, and what it costs."""

import pytest

from headrace.kinds.catalog import Resource, read_text
from headrace.kinds.kind import COSTS
from headrace.kinds.plan import Change, plan
from headrace.kinds.reference import rows
from headrace.kinds.registry import KINDS


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
    assert {(change.action, change.cost) for change in plan(resources, resources)} == {("unchanged", "none")}


def test_what_means_the_same_is_no_change(base_text: str) -> None:
    changes = changed(
        base_text, ("batchSize: 16", 'batchSize: "16"\n    epochs: 1'), ("30s", "0.5m"), ("{cpu: 2,", '{cpu: "2000m",')
    )
    assert {change.action for change in changes.values()} == {"unchanged"}


@pytest.mark.parametrize(
    ("kind", "old", "new", "field", "cost"),
    [
        ("StreamFinetuner", "batchSize: 16", "batchSize: 32", "trainer.batchSize: 16 → 32 (restart)", "restart"),
        ("StreamFinetuner", "  learning:\n", "  teacher: {concurrency: 4}\n  learning:\n", "teacher.concurrency: 16 (default) → 4 (restart)", "restart"),
        ("StreamFinetuner", "You sort questions.", "You sort.", "promptTemplate[0].systemContext: You sort questions. → You sort. (re-label)", "re-label"),
        ("StreamFinetuner", "method: full", "method: lora", "learning.method: full → lora (new base)", "new base"),
        ("StreamFinetuner", "SELECT id, text, category", "SELECT id, text", "preProcessing.preProcessingSQL: SELECT id, text, category FROM source_stream → SELECT id, text FROM source_stream (re-run query)", "re-run query"),
        ("StreamConnector", "  key: [id]\n", "  key: [text]\n", 'key: ["id"] → ["text"] (re-ingest)', "re-ingest"),
        ("StreamConnector", "outOfOrderness: 5s", "outOfOrderness: 9s", "eventTime.outOfOrderness: 5s → 9s (re-run query)", "re-run query"),
        ("BaseModel", "replicas: 1", "replicas: 2", "baseModelServingTemplate.replicas: 1 → 2 (restart)", "restart"),
        ("BaseModel", "path: models/tiny", "path: models/other", "baseModelServingInfo.path: models/tiny → models/other (new base)", "new base"),
        ("MegaModel", "gpt-4o-mini", "gpt-5", "modelTemplate.openAI.model: gpt-4o-mini → gpt-5 (re-label)", "re-label"),
        ("MegaModel", "sk-very-secret", "sk-other-secret", "modelTemplate.openAI.apikey: ********** → ********** (restart)", "restart"),
        ("MegaModel", "  name: gpt\n", "  name: gpt\n  labels: {a: b}\n", 'metadata.labels: {} → {"a": "b"} (none)', "none"),
    ],
)  # fmt: skip
def test_a_change_is_told_with_its_cost(base_text: str, kind: str, old: str, new: str, field: str, cost: str) -> None:
    change = changed(base_text, (old, new))[kind]
    assert (change.action, change.cost) == ("update", cost)
    assert [str(one) for one in change.fields] == [field]
    assert COSTS[change.cost] in change.sentence


def test_the_dearest_field_gives_the_cost_and_names_who_feels_it(base_text: str) -> None:
    change = changed(
        base_text, ("outOfOrderness: 5s", "outOfOrderness: 9s, maxAhead: 1h"), ("  id: [id]\n", "  id: [id, text]\n")
    )["StreamConnector"]
    assert change.cost == "re-ingest"
    assert change.affects == ("StreamFinetuner/desk",)
    assert change.sentence == (
        "StreamConnector/questions in default changes in 3 fields; re-ingest: the source is read again from its beginning; StreamFinetuner/desk with it"
    )


def test_only_pruning_deletes(resources: list[Resource]) -> None:
    kept = [one for one in resources if one.kind != "BaseModel"]
    assert {change.action for change in plan(resources, kept)} == {"unchanged"}
    gone = plan(resources, kept, prune=True)[-1]
    assert (gone.action, gone.id.kind, gone.affects) == ("delete", "BaseModel", ("StreamFinetuner/desk",))
    assert gone.sentence == "BaseModel/tiny in default is deleted; StreamFinetuner/desk cannot run without it"


def test_every_cost_is_of_a_field_that_exists() -> None:
    for kind in KINDS.values():
        paths = {row.path.replace("[]", "") for name in kind.variants() for row in rows(kind.variant(name), kind)}
        assert set(kind.costs) - paths == set(), kind.name


def test_every_top_block_says_what_a_change_costs() -> None:
    for kind in KINDS.values():
        blocks = {
            info.alias or name for title in kind.variants() for name, info in kind.variant(title).model_fields.items()
        }
        assert {block for block in blocks if block not in kind.costs} - _of_types(kind.name) == set()


def _of_types(kind: str) -> set[str]:
    """The types' own blocks of a StreamConnector: what changing one costs is that of the whole, a restart."""
    return {name.partition("/")[2] for name in KINDS[kind].variants()} if kind == "StreamConnector" else set()
