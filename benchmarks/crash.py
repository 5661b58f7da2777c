"""Kills the whole job again and again, for real, and compares what it comes to with the undisturbed run.

    python benchmarks/crash.py [--kills 500] [--minutes 30] [--state FOLDER]

The job is `tests/recovery/jobs/chain.yaml`: a source with bad lines, two finetuners in a chain, promotions, drift, a file sink.
It runs in one process with the light learner; SIGKILL comes at a random moment; the next process goes on from what is on disk. When
a run has come to its end, every topic, registry, file and digest of weights must be that of the undisturbed run. Interrupted, it goes
on with the same `--state`. Exit code 1 where anything differs.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from headrace.events import topics
from headrace.log.registry import open_log
from headrace.models.tiny import new_checkpoint
from headrace.stages.ingest import stage as ingest
from headrace.stages.ingest.options import IngestOptions
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline, declared, differences, snapshot

JOB = Path(__file__).resolve().parents[1] / "tests" / "recovery" / "jobs" / "chain.yaml"
NOUNS = ("card", "transfer", "refund", "rate", "fee", "cash")
ROWS = 380


def lay_out(folder: Path) -> None:
    """Declarations, a model that knows the words, and rows whose answers change near the end."""
    folder.mkdir(parents=True)
    shutil.copy(JOB, folder / "job.yaml")
    texts = [f"my {noun} is late again" for noun in NOUNS] + [*NOUNS, "0 1 2 3 4 5 6 7 8 9 please"]
    new_checkpoint(folder / "model", size="tiny", text=texts * 5, seed=1)
    with (folder / "questions.jsonl").open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            kind = (number * 7 + number // 5) % len(NOUNS)
            text = f"my {NOUNS[kind]} is late again {number}" + " again" * (40 * (number % 41 == 40))
            team = NOUNS[(kind + (number >= 300)) % len(NOUNS)]
            when = f"2024-01-01T00:{number // 60:02d}:{number % 60:02d}Z"
            file.write(json.dumps({"id": number, "event_time": when, "text": text, "team": team}) + "\n")
            if number % 90 == 45:
                file.write("{broken\n")


def work(folder: Path) -> None:
    """Runs the job to its end in this process."""
    ingest.MAX_ROWS = 40
    found = declared(folder / "job.yaml", folder / "state", checkpoint_interval_ms=0)
    with Pipeline(found, folder / "state", learner=open_light_learner, holder=str(os.getpid()), at_most=60) as job:
        job.run()


def spawn(folder: Path) -> int:
    """A child that works; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(folder)
            code = 0
        except BaseException as error:  # noqa: BLE001 - the parent must hear of it, and nothing of the parent may run here
            print(f"\nthe job failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(code)
    return child


def kill_within(child: int, seconds: float) -> int | None:
    """Kills the child after so long. Its exit code where it had ended by itself, else None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def places(folder: Path) -> dict[str, int]:
    """How far every stage has committed."""
    found = declared(folder / "job.yaml", folder / "state")
    log = open_log(folder / "state")
    try:
        ends = {info.spec.name: info.end_offset for info in log.topics()}
        read = {
            f"ingest/{one.source.id.name}": ends.get(topics.events(one.source.id), 0)
            for one in found.options(IngestOptions)
        }
        readers = [(spec.name, one.topic) for spec in found.specs for one in spec.reads]
        return read | {group: log.offset(group, topic) for group, topic in readers if topic in ends}
    finally:
        log.close()


def furthest(before: dict[str, int], after: dict[str, int]) -> str:
    """The last stage down the stream that the killed process had moved."""
    moved = [stage for stage, place in after.items() if place != before.get(stage, 0)]
    return moved[-1].partition("/")[0] if moved else "start"


def result(folder: Path) -> dict[str, object]:
    return snapshot(declared(folder / "job.yaml", folder / "state"), folder / "state")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=60.0, help="ends then, with what was done (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--state", type=Path, default=Path(tempfile.gettempdir()) / "headrace-crash", help="where to go on"
    )
    options = parser.parse_args()
    work_folder: Path = options.state
    template, twin = work_folder / "job", work_folder / "undisturbed"
    if not (work_folder / "ready").exists():
        shutil.rmtree(work_folder, ignore_errors=True)
        lay_out(template)
        shutil.copytree(template, twin)
    started = time.monotonic()
    if not (work_folder / "ready").exists():
        if kill_within(spawn(twin), 3_600.0) != 0:
            return 1
        (work_folder / "ready").write_text(
            json.dumps({"seconds": time.monotonic() - started, "kills": 0, "runs": 0, "where": {}})
        )
    return crash(options, work_folder, result(twin))


def crash(options: argparse.Namespace, work_folder: Path, undisturbed: dict[str, object]) -> int:
    """Kills until there are enough; the count survives an interruption."""
    said = json.loads((work_folder / "ready").read_text())
    where = collections.Counter(said["where"])
    folder, ends_at = work_folder / "killed", time.monotonic() + 60 * options.minutes
    draw = random.Random(options.seed + said["kills"])
    while said["kills"] < options.kills and time.monotonic() < ends_at:
        if not folder.exists():
            shutil.copytree(work_folder / "job", folder)
        before = places(folder)
        code = kill_within(spawn(folder), draw.uniform(0.02, 0.5 * said["seconds"]))
        if code is None:
            said["kills"] += 1
            where[furthest(before, places(folder))] += 1
        elif code != 0:
            print(f"\nFAILED: the job ended with exit code {code}; see {folder}")
            return 1
        else:
            if different := differences(result(folder), undisturbed):
                print(f"\nFAILED after {said['kills']} kills; see {folder}\n" + "\n".join(different))
                return 1
            said["runs"] += 1
            shutil.rmtree(folder)
        said["where"] = dict(where)
        (work_folder / "ready").write_text(json.dumps(said))
        print(
            f"\r{said['kills']} of {options.kills} kills, {said['runs']} runs ended as the undisturbed one",
            end="",
            flush=True,
        )
    return conclude(said, folder, undisturbed)


def conclude(said: dict[str, object], folder: Path, undisturbed: dict[str, object]) -> int:
    """Lets the last run end, and says what came of it all."""
    if folder.exists():
        if kill_within(spawn(folder), 3_600.0) != 0:
            return 1
        if different := differences(result(folder), undisturbed):
            print("\nFAILED\n" + "\n".join(different))
            return 1
    print(f"\n{said['kills']} kills; the furthest stage that the killed process had moved: {said['where']}")
    print("every run ended with the topics, registries, files and weights of the undisturbed one, bit for bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
