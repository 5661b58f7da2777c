"""Whatever a file holds, what is good in it is learned, what is not becomes a dead letter, and the stream goes on."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.foundation.errors import FinalError


def line(number: int, **changes: Any) -> bytes:
    """A row of twenty seconds before the tests' clock."""
    row = {"id": f"q{number}", "event_time": "2023-11-14T22:13:00Z", "text": f"where is my card {number}", "amount": number, "team": "cards"}  # fmt: skip
    return json.dumps({name: value for name, value in (row | changes).items() if value is not ...}).encode() + b"\n"


def good(count: int) -> list[bytes]:
    return [line(number) for number in range(count)]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b'{"id": "q9", "event_time": \n', "malformed_json"),
        (b"not json at all\n", "malformed_json"),
        (line(99, amount="many"), "wrong_type"),
        (line(99, amount={"a": 1}), "wrong_type"),
        (line(99, event_time="yesterday"), None),
        (line(99, event_time=...), None),
        (line(99, id=...), None),
        (line(99, id=None), None),
        (line(99, event_time="2024-11-14T22:13:00Z"), "ahead_of_clock"),
        (line(99).replace(b"card", b"\xff\xfe card"), None),
        (b"\x00\x01\x02\n", None),
        (b"[1, 2]\n", None),
    ],
)
def test_a_bad_line_is_a_dead_letter_and_the_others_are_learned(
    bad: bytes, code: str | None, folder: Path, run: Callable[..., Any], letters: Callable[..., Any]
):
    lines = good(30)
    (folder / "questions.jsonl").write_bytes(b"".join([*lines[:15], bad, *lines[15:]]))
    found = run()
    dead = letters(found["questions.dead"])
    assert len(dead) == 1
    assert dead[0].reason
    assert code is None or dead[0].code == code
    assert [record.id for record in found["questions.events"]] == [f"questions:q{number}" for number in range(30)]
    assert len(found["desk.examples"]) == len(found["desk.scores"]) == 30


def test_a_clock_a_year_ahead_does_not_close_the_world(folder: Path, run: Callable[..., Any]):
    (folder / "job.yaml").write_text(
        (folder / "job.yaml").read_text().replace(
            "SELECT id, event_time, text, amount, team FROM source_stream",
            "SELECT team, 'where is my card' AS text, COUNT(*) AS many FROM TABLE(TUMBLE(TABLE source_stream, "
            "DESCRIPTOR(event_time), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, team",
        )
    )  # fmt: skip
    times = [f"2023-11-14T22:{number // 60:02d}:{number % 60:02d}Z" for number in range(120)]
    lines = [line(number, event_time=time) for number, time in enumerate(times)]
    (folder / "questions.jsonl").write_bytes(
        b"".join([*lines[:50], line(999, event_time="2024-11-14T22:00:00Z"), *lines[50:]])
    )
    found = run()
    assert [json.loads(record.value)["many"] for record in found["desk.rows"]] == [10] * 12
    assert found["desk.late"] == []


def test_a_repeated_id_is_taken_once(folder: Path, run: Callable[..., Any]):
    (folder / "questions.jsonl").write_bytes(b"".join([*good(20), line(3, text="another"), line(3), line(20)]))
    found = run()
    assert [record.id for record in found["questions.events"]] == [f"questions:q{number}" for number in range(21)]


def test_an_empty_file_is_a_stream_without_rows(folder: Path, run: Callable[..., Any]):
    (folder / "questions.jsonl").write_bytes(b"")
    found = run()
    assert found["questions.events"] == found["questions.dead"] == found["desk.scores"] == []


def test_a_file_that_shrank_is_said_and_nothing_is_read_twice(
    folder: Path, run: Callable[..., Any], opened: Callable[..., Any]
):
    file = folder / "questions.jsonl"
    file.write_bytes(b"".join(good(30)))
    before = run()
    file.write_bytes(b"".join(good(10)))
    again = opened(holder="two")
    with pytest.raises(FinalError, match="Restore the file"):
        run_anew(again)
    again.close()
    file.write_bytes(b"".join([*good(30), line(30)]))
    after = run(holder="three")
    assert len(after["questions.events"]) == 31
    assert after["questions.events"][:30] == before["questions.events"]


def run_anew(pipeline: Any) -> None:
    pipeline.open()
    pipeline.run()


LONG = """
    import resource, sys
    from pathlib import Path
    from headrace.connectors.source import SourceContext
    from headrace.log.registry import open_log
    from headrace.stages.ingest.options import IngestOptions
    from headrace.stages.ingest.stage import IngestStage
    from headrace.testing.pipeline import declared
    folder = Path(sys.argv[1])
    log = open_log(folder / "state")
    stage = IngestStage(declared(folder / "job.yaml", folder / "state").options(IngestOptions)[0], log, "one")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while stage.step():
        pass
    stage.step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print([(i.spec.name, i.end_offset) for i in log.topics() if i.end_offset])
"""


@pytest.mark.slow
def test_a_line_of_a_hundred_megabytes_is_a_dead_letter_in_bounded_memory(folder: Path):
    with (folder / "questions.jsonl").open("wb") as file:
        file.write(b"".join(good(10)))
        file.write(b'{"id": "long", "text": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n')
        file.write(line(10))
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LONG), str(folder)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    grown, counts = process.stdout.splitlines()
    assert int(grown) < 96 * 1024, "KiB by which the resident memory grew"
    assert counts == "[('default.questions.dead', 1), ('default.questions.events', 12)]"
