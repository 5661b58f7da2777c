"""Real kills of a process that gives answers: what was promised to be kept is in the log, once."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.events import topics
from headrace.log.registry import open_log
from headrace.stages.serve.journal import AnswerJournal
from headrace.stages.serve.log_versions import LogVersions
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.serve.stage import ServeStage
from headrace.testing.builders import read_all
from headrace.testing.resource_ids import base_model_id, finetuner_id

pytestmark = pytest.mark.kill

MODELS = (ServedModel(finetuner_id("desk", "red"), Path(), base_model_id("tiny", "red")),)
PROGRAM = """
import asyncio, sys, threading
from pathlib import Path
from headrace.control.role import StageThread
from headrace.events.answer import Answer
from headrace.foundation.failpoints import arm_from_environment
from headrace.log.registry import open_log
from headrace.stages.serve.journal import AnswerJournal
from headrace.stages.serve.log_versions import LogVersions
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.serve.stage import ServeStage
from headrace.testing.resource_ids import base_model_id, finetuner_id

state, answers, run = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
arm_from_environment()
models = (ServedModel(finetuner_id("desk", "red"), Path(), base_model_id("tiny", "red")),)
log = open_log(state)
journal = AnswerJournal(state, required=answers == "required")
versions = LogVersions(models, log, state)
StageThread(lambda: ServeStage(ServeOptions(models), log, run, versions, journal), log, lambda: None).start()

async def client(name):
    for number in range(10_000):
        answer_id = f"chatcmpl-{run}-{name}-{number}.red"
        await journal.keep(models[0].id, {answer_id: Answer("desk", "v0", [], "x" * 200, "stop", 1, 1)})
        print("given", answer_id, flush=True)
        if answers == "best-effort" and number % 20 == 19:
            await asyncio.to_thread(journal.flush)
            print("flushed", number, flush=True)

async def main():
    await asyncio.gather(*(client(name) for name in range(6 if answers == "required" else 1)))

asyncio.run(main())
"""


def killed_after(state: Path, answers: str, run: str, lines: int, **environ: str) -> list[str]:
    """What the process said before it was killed, by us after so many lines or by an armed failpoint."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(state), answers, run],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.strip())
            if len(said) == lines:
                process.kill()
        errors = process.stderr.read()
    assert process.returncode == -9, errors
    assert errors == ""
    return said


def committed(state: Path) -> list[str]:
    """The topic, after a next process has taken the journal over."""
    log = open_log(state)
    journal = AnswerJournal(state)
    try:
        stage = ServeStage(ServeOptions(MODELS), log, "next", LogVersions(MODELS, log, state), journal)
        stage.close()
        assert journal.waiting == {}
        return [record.id for record in read_all(log, topics.answers("red"))]
    finally:
        journal.close()
        log.close()


def given(said: list[str]) -> list[str]:
    return [line.removeprefix("given ") for line in said if line.startswith("given ")]


def test_required_answers_survive_any_number_of_kills_and_come_once(tmp_path: Path) -> None:
    draw, promised = random.Random(7), list[str]()
    for run in range(3):
        promised += given(killed_after(tmp_path, "required", f"run{run}", draw.randrange(20, 400)))
    found = committed(tmp_path)
    assert len(promised) > 60
    assert set(promised) <= set(found)
    assert len(found) == len(set(found))
    assert len(found) - len(promised) <= 3 * 6  # kept, and killed before it was told


@pytest.mark.parametrize("point", ["serve.commit.before", "serve.commit.after", "log.commit.within"])
def test_a_kill_around_the_commit_doubles_nothing(tmp_path: Path, point: str) -> None:
    promised = given(killed_after(tmp_path, "required", "run", 1_000_000, HEADRACE_FAILPOINT=f"{point}:6"))
    promised += given(killed_after(tmp_path, "required", "again", 40))
    found = committed(tmp_path)
    assert set(promised) <= set(found)
    assert len(found) == len(set(found))


def test_best_effort_loses_at_most_what_no_fsync_had_covered(tmp_path: Path) -> None:
    said = killed_after(tmp_path, "best-effort", "run", 150)
    promised, flushed = given(said), sum(line.startswith("flushed ") for line in said) * 20
    found = committed(tmp_path)
    assert flushed >= 100
    assert found[:flushed] == promised[:flushed]
    assert found == [
        f"chatcmpl-run-0-{number}.red" for number in range(len(found))
    ]  # no holes: the newest alone are lost
