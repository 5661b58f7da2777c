"""Each field of a StreamFinetuner is changed in its declaration between two runs, and does what its verdict says.

The declaration is read, planned into options and run, so that a field that gets lost on the way is found. What a changed option does to
rounds, trials and versions in detail is in `test_changed_declarations`; queries are in `test_changed_queries`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.events import codec, topics
from headrace.events.prompt import Prompt
from headrace.foundation.settings import Settings
from headrace.kinds.catalog import Resource, read_text
from headrace.kinds.reference import rows
from headrace.kinds.registry import KINDS
from headrace.kinds.stream_finetuner import stages
from headrace.kinds.topology import topology
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicSpec
from headrace.models.tiny import new_checkpoint
from headrace.stages.prompt.stage import PromptStage
from headrace.stages.serve.options import ServedModel
from headrace.stages.serve.spec import shared_topics
from headrace.stages.train.options import TrainOptions
from headrace.testing.builders import append, new_record, read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import finetuner_id

from .declared_desk import TEAMS, WORDS, DeclaredDesk

KIND = KINDS["StreamFinetuner"]
SPEC: dict[str, Any] = {
    "finetunerInfo": {"baseModel": "tiny", "dataSource": {"sourceStreamConnector": "questions"}},
    "finetunerTemplate": {
        "finetunerResources": {"limits": {"cpu": 1}},
        "dataProcessorTemplate": {"checkpointingInterval": "1ms"},
    },
    "preProcessing": {"preProcessingSQL": "SELECT * FROM source_stream"},
    "promptTemplate": [{"systemContext": "Sort.", "userQuestion": "Which team? {text}"}],
    "groundTruth": {"column": "team"},
    "trainer": {"batchSize": 8, "learningRate": 0.005},
    "learning": {"method": "full", "optimizer": "adamw", "warmupSteps": 4},
}
SOURCE = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: questions}
spec:
  type: file
  file: {path: questions.jsonl}
  schema: [{name: text, type: STRING}, {name: team, type: STRING}, {name: other, type: STRING}]
---
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {name: tiny}
spec: {baseModelServingInfo: {path: model}}
---
"""


@dataclass(frozen=True)
class Learned:
    """A change that acts on the trainer without a reset."""

    value: Any
    recorded: str
    """Its name in the decision `declaration`."""


LEARNED: dict[str, Learned] = {
    "trainer.batchSize": Learned(32, "batchSize"),
    "trainer.epochs": Learned(2, "epochs"),
    "trainer.gradientAccumulationSteps": Learned(2, "gradientAccumulationSteps"),
    "trainer.learningRate": Learned(0.001, "learningRate"),
    "trainer.useMixedPrecision": Learned(value=True, recorded="mixedPrecision"),
    "learning.warmupSteps": Learned(40, "warmupSteps"),
    "learning.replay.perFresh": Learned(3.0, "replay.perFresh"),
    "learning.replay.capacity": Learned(8, "replay.capacity"),
    "promotion.metric": Learned("loss", "metric"),
    "promotion.candidateEvery": Learned(16, "candidateEvery"),
    "promotion.alpha": Learned(0.2, "alpha"),
    "promotion.maxRows": Learned(5, "maxRows"),
    "promotion.anchors.max": Learned(2, "anchors.max"),
    "promotion.anchors.maxDrop": Learned(0.5, "maxDrop"),
    "promotion.probationRows": Learned(1, "probationRows"),
    "promotion.approval": Learned("manual", "approval"),
    "promotion.keepVersions": Learned(2, "keepVersions"),
    "ioSequenceLength.inputMax": Learned(64, "inputMax"),
    "ioSequenceLength.outputMax": Learned(16, "outputMax"),
    "finetunerTemplate.finetunerResources.limits.cpu": Learned(2, "threads"),
}
AFTER_A_RESET: dict[str, tuple[Any, str]] = {
    "learning.method": ("lora", "method full → lora"),
    "learning.optimizer": ("muon", "optimizer adamw → muon"),
    "learning.seed": (7, "seed 0 → 7"),
}


def _texts(prompts: list[Prompt]) -> list[str]:
    return [message.content for one in prompts for message in one.messages]


PROMPTED: dict[str, tuple[Any, Callable[[list[Prompt]], bool]]] = {
    "promptTemplate.systemContext": ("Choose.", lambda new: "Choose." in _texts(new) and "Sort." not in _texts(new)),
    "promptTemplate.userQuestion": ("{other}", lambda new: _texts(new)[1] == "o"),
    "groundTruth.column": ("other", lambda new: {one.ground_truth for one in new} == {"o"}),
    "preProcessing.sampleRatio": (0.000001, lambda new: new == []),
    "finetunerTemplate.preProcessing.sampleRatio": (0.000001, lambda new: new == []),
}
"""A value, and what is true of the prompts of rows that come afterwards."""

RETAINED: dict[str, tuple[str, ...]] = {
    "retention.rows": (topics.rows("default", "desk"),),
    "retention.late": (topics.late("default", "desk"),),
    "retention.prompts": (topics.prompts("default", "desk"),),
    "retention.examples": (topics.examples("default", "desk"),),
    "retention.scores": (topics.scores("default", "desk"),),
    "retention.deadLetters": tuple(
        topics.stage_dead("default", "desk", stage) for stage in ("transform", "prompt", "label", "train")
    ),
    "retention.answers": (topics.answers("default"),),
    "retention.feedback": (topics.feedback("default"),),
}
"""The topics that forget."""

_QUERY = "observed for both engines in test_changed_queries and test_job_inputs"
_LABEL = "the label stage is opened with it; its effect on calls is observed in tests/teachers and test_label_money"
_SUPERVISED = "acts on processes, not on a stage; observed in tests/control/test_supervisor"
_KNOWLEDGE = "needs an index beside the prompts; observed in test_changed_documents"
NOT_IN_THIS_TABLE: dict[str, str] = {
    **{
        f"{block}.{key}": reason
        for block in ("preProcessing", "finetunerTemplate.preProcessing")
        for key, reason in (("preProcessingSQL", _QUERY), ("startTime", _QUERY), ("knowledgeSearchLimit", _KNOWLEDGE))
    },
    "timeline": _QUERY,
    "finetunerInfo.dataSource.sourceStreamConnector": "needs a reset, which apply enforces: tests/control/test_declared_changes",
    "finetunerInfo.dataSource.sourceStreamFinetuner": "needs a reset, which apply enforces: tests/control/test_declared_changes",
    "finetunerInfo.baseModel": "another folder is observed in test_changed_declarations",
    "finetunerInfo.knowledgeBase": _KNOWLEDGE,
    "finetunerInfo.megaModel": _LABEL,
    "finetunerTemplate.dataProcessorTemplate.checkpointingInterval": "observed in test_changed_declarations",
    "finetunerTemplate.dataProcessorTemplate.parallelism": _QUERY,
    **dict.fromkeys(
        (f"finetunerTemplate.dataProcessorTemplate.{key}" for key in ("flinkMemorySize", "managedMemorySize", "processMemorySize")),
        "memory of Flink's processes; observed in tests/cluster/test_sizes",
    ),
    "finetunerTemplate.finetunerResources.limits.memory": _SUPERVISED,
    "finetunerTemplate.finetunerResources.limits.gpu": "no effect: nothing to observe",
    **dict.fromkeys((f"finetunerTemplate.finetunerResources.requests.{key}" for key in ("cpu", "gpu", "memory")), "no effect: nothing to observe"),
    **dict.fromkeys(
        (f"teacher.{key}" for key in ("concurrency", "requestsPerMinute", "budget.tokens", "budget.usd", "unavailableTimeout",
                                      "maxAttempts", "answerCache.keep", "answerCache.maxBytes")),
        _LABEL,
    ),
}  # fmt: skip
"""With the reason. A field that gets a case must leave this list."""


def test_every_field_has_a_case_or_a_reason_why_it_has_none() -> None:
    cases = {*LEARNED, *AFTER_A_RESET, *PROMPTED, *RETAINED}
    paths = {row.path.replace("[]", "") for row in rows(KIND.variant(""), KIND)}
    fields = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
    assert sorted(fields - cases - set(NOT_IN_THIS_TABLE)) == [], "without a case"
    assert sorted((cases | set(NOT_IN_THIS_TABLE)) - fields) == [], "no such field"
    assert sorted(cases & set(NOT_IN_THIS_TABLE)) == [], "in both"


def finetuner(folder: Path, path: str = "", value: Any = None) -> Resource:
    """As declared, with another value at a path."""
    spec = yaml.safe_load(yaml.safe_dump(SPEC))
    steps = [0 if one == "#" else one for one in path.replace("promptTemplate.", "promptTemplate.#.").split(".")]
    if path:
        if path.startswith("finetunerTemplate.preProcessing"):
            spec["finetunerTemplate"]["preProcessing"] = spec.pop("preProcessing")
        inner: Any = spec
        for step in steps[:-1]:
            inner = inner[step] if isinstance(step, int) else inner.setdefault(step, {})
        inner[steps[-1]] = value
    declared = {
        "apiVersion": "llm.nstream.ai/v1",
        "kind": "StreamFinetuner",
        "metadata": {"name": "desk"},
        "spec": spec,
    }
    loaded = read_text(SOURCE + yaml.safe_dump(declared), "headrace.yaml", str(folder))
    assert loaded.mistakes == []
    return loaded.resources[-1]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdicts") / "model"
    words = [*(f"my {word} 0 1 2 3 4 5 6" for word in WORDS), *TEAMS]
    new_checkpoint(folder, size="tiny", text=words * 5, seed=1, vocabulary=512)
    return folder


def options(base: Path, path: str = "", value: Any = None) -> TrainOptions:
    """What the trainer is opened with."""
    declared = finetuner(base.parent, path, value)
    planned = stages.train(declared, base, stages.label(declared, None), 4, None)
    return replace(planned, checkpoint_interval_ms=0)


@pytest.fixture
def desk(tmp_path: Path, base: Path) -> Iterator[DeclaredDesk]:
    desk = DeclaredDesk(tmp_path / "state", options(base))
    yield desk
    desk.close()


@pytest.mark.parametrize("path", LEARNED)
def test_a_change_of_what_is_learned_acts_from_a_recorded_place(path: str, desk: DeclaredDesk, base: Path) -> None:
    assert KIND.verdict(path, "").reset is None
    desk.examples(20)
    desk.run()
    desk.options = options(base, path, LEARNED[path].value)
    desk.examples(20)
    desk.run()
    assert desk.changes() == [{LEARNED[path].recorded: LEARNED[path].value}]
    assert [one.last_offset for one in desk.decisions("declaration")] == [0, 20]
    assert desk.state().offset == 40


@pytest.mark.parametrize("path", AFTER_A_RESET)
def test_a_change_that_needs_a_reset_does_nothing_before_it_and_says_so(
    path: str, desk: DeclaredDesk, base: Path
) -> None:
    value, said = AFTER_A_RESET[path]
    assert KIND.verdict(path, "").reset == "model"
    desk.examples(20)
    desk.run()
    desk.options = options(base, path, value)
    desk.examples(20)
    desk.run()
    assert desk.changes() == []
    assert said in desk.condition("DeclarationInForce").message


@pytest.mark.parametrize("path", PROMPTED)
def test_a_change_of_prompts_acts_from_the_next_row_and_leaves_the_others(path: str, tmp_path: Path) -> None:
    value, holds = PROMPTED[path]
    assert KIND.verdict(path, "").text == "from the next record"
    log = open_log(tmp_path / "state")
    rows_topic, found = topics.rows(finetuner_id("desk")), list[list[Prompt]]()
    for number, declared in enumerate((finetuner(tmp_path), finetuner(tmp_path, path, value))):
        append(
            log,
            rows_topic,
            [new_record(f"r{number}-{place}", b'{"text":"t","team":"cards","other":"o"}') for place in range(4)],
        )
        stage = PromptStage(stages.prompt(declared, None), log, f"run-{number}", VirtualClock())
        while stage.step():
            pass
        stage.close()
        found.append([codec.decode(one, Prompt) for one in read_all(log, topics.prompts(finetuner_id("desk")))])
    before, after = found
    assert after[: len(before)] == before
    assert len(before) == 4
    assert not holds(before)
    assert holds(after[4:])
    log.close()


def planned_topics(folder: Path, declared: Resource) -> dict[str, TopicSpec]:
    """As the finetuner's stages keep them."""
    declared_with = read_text(SOURCE, "headrace.yaml", str(folder)).resources
    built = topology([*declared_with, declared], Settings(state=folder / "state"), {"HF_HOME": str(folder / "hf")})
    assert built.not_ready == ()
    shared = shared_topics("default", built.options(ServedModel))
    return {one.name: one for one in (*(one for spec in built.specs for one in spec.writes), *shared)}


@pytest.mark.parametrize("path", RETAINED)
def test_a_change_of_retention_acts_at_the_next_trim_and_on_its_topics_alone(
    path: str, tmp_path: Path, base: Path
) -> None:
    assert KIND.verdict(path, "").text == "at once"
    clock = VirtualClock()
    log = open_log(tmp_path / "state", clock=clock)
    every = [name for names in RETAINED.values() for name in names]
    forgotten = list[list[str]]()
    for declared in (finetuner(base.parent), finetuner(base.parent, path, "1h")):
        for name, spec in planned_topics(base.parent, declared).items():
            if name in every:
                log.ensure_topic(spec)
        for name in every:
            append(log, name, [new_record(f"{name}/{clock.now_ms()}")])
        clock.advance(7_200)
        log.trim(clock.now_ms())
        forgotten.append([name for name in every if not read_all(log, name)])
    assert forgotten == [[], list(RETAINED[path])]
    log.close()
