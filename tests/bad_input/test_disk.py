"""A full disk makes the stages wait and read again; nothing is lost, nothing comes twice."""

import errno
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.foundation.errors import DiskFullError
from headrace.foundation.failpoints import armed
from headrace.testing.pipeline import declared, differences, snapshot

SINK = """
---
apiVersion: llm.nstream.ai/v1
kind: StreamConnector
metadata: {name: scores-out}
spec:
  direction: sink
  type: file
  file: {path: out, format: json, rollRecords: 30}
  input: {streamFinetuner: desk, topic: scores}
"""


def full() -> DiskFullError:
    return DiskFullError("the disk has no room left for the log", next_step="free disk space")


@contextmanager
def failing(name: str, share: float, seed: int, error: Callable[[], Exception]) -> Iterator[list[int]]:
    """A share of the passes of a failpoint finds the disk full."""
    draw = random.Random(seed)
    struck = [0]

    def strike() -> None:
        if draw.random() < share:
            struck[0] += 1
            raise error()

    with armed(name, strike):
        yield struck


def questions(count: int) -> str:
    rows = (
        {
            "id": f"q{n}",
            "event_time": "2023-11-14T22:13:00Z",
            "text": f"where is my {'card' if n % 2 else 'desk'} {n}",
            "amount": n,
            "team": "cards" if n % 2 else "desk",
        }
        for n in range(count)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_disk_that_is_full_again_and_again_changes_nothing(
    seed: int, folder: Path, opened: Callable[..., Any], tmp_path: Path
):
    job = (folder / "job.yaml").read_text() + SINK
    results: list[dict[str, Any]] = []
    for name in ("undisturbed", "full"):
        place = tmp_path / name
        place.mkdir()
        (place / "model").symlink_to(folder / "model")
        (place / "job.yaml").write_text(job)
        (place / "questions.jsonl").write_text(questions(220))
        pipeline = opened(folder=place)
        pipeline.open()
        with ExitStack() as stack:
            if name == "full":
                struck = stack.enter_context(failing("log.commit.before", 0.15, seed, full))
                files = stack.enter_context(
                    failing("store.put.before", 0.2, seed, lambda: OSError(errno.ENOSPC, "no room"))
                )
            pipeline.run()
        pipeline.close()
        results.append(snapshot(declared(place / "job.yaml", place / "state"), place / "state"))
    assert struck[0] > 5
    assert files[0] > 0
    assert differences(*results) == []
    assert len(results[0]["default.desk.scores"]) == 220 + 1  # and the end of the input
