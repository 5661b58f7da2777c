"""The log of a role keeps within its bound while the process writes on, and is shown in one piece."""

import subprocess
import sys
from pathlib import Path

from headrace.control.role_log import RoleLog, role_logs

LIMIT = 1_000
WRITER = """
import sys
for number in sys.stdin:
    sys.stderr.write(f"line {number.strip()}\\n" + "x" * 90 + "\\n")
    sys.stderr.flush()
    sys.stdout.write(".")
    sys.stdout.flush()
"""


def test_a_log_that_a_process_writes_goes_on_behind_the_cut_and_stays_small(tmp_path: Path) -> None:
    log = RoleLog(tmp_path, "train/default.desk")
    with log.open() as output:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
        )
    assert writer.stdin is not None
    assert writer.stdout is not None
    for number in range(60):
        writer.stdin.write(f"{number}\n")
        writer.stdin.flush()
        assert writer.stdout.read(1) == "."
        log.bound(LIMIT)
        assert log.path.stat().st_size <= LIMIT
        assert not log.former.exists() or log.former.stat().st_size <= LIMIT
    writer.stdin.close()
    writer.stdout.close()
    assert writer.wait() == 0
    shown = "".join(log.text(lambda: False))
    lines = [int(line.removeprefix("line ")) for line in shown.splitlines() if line.startswith("line ")]
    assert lines == list(range(lines[0], 60)), "without a gap, up to the last"
    assert len(lines) >= LIMIT // 110
    assert role_logs(tmp_path) == ["train.default.desk"], "the former part is no role of its own"


def test_who_follows_a_log_goes_on_after_a_cut(tmp_path: Path) -> None:
    log = RoleLog(tmp_path, "ingest")
    with log.open() as output:
        output.write(b"a" * LIMIT + b"\n")
        output.flush()
        follows = log.text(lambda: True)
        assert next(follows) == "a" * LIMIT + "\n"
        assert log.bound(LIMIT)
        output.write(b"after\n")
        output.flush()
        assert next(follows) == "after\n"
        follows.close()


def test_the_last_error_is_found_behind_a_cut(tmp_path: Path) -> None:
    log = RoleLog(tmp_path, "ingest")
    assert log.errors() == []
    with log.open() as output:
        output.write(b"error: one\n" + b"x" * LIMIT + b"\nerror: two\n")
        output.flush()
        assert log.bound(LIMIT)
        assert log.errors() == ["error: two"]
        output.write(b"error: three\n")
        output.flush()
    assert log.errors()[-1] == "error: three"
