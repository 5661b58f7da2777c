"""`python -m headrace.testing.simulation`: several processes, progress, a clean end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.testing.simulation.__main__ import main
from headrace.testing.simulation.scheduler import Report
from headrace.testing.simulation.seeds import Summary

COMMAND = (sys.executable, "-m", "headrace.testing.simulation")


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert "--seeds 2000" in said
    assert "exit code" in said


@pytest.mark.parametrize("wrong", [["--seeds", "0"], ["--processes", "-1"], ["--seeds", "many"]])
def test_numbers_that_mean_nothing_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_after_an_interruption_it_says_where_to_go_on():
    summary = Summary(first=8)
    for seed in (8, 9, 11):
        summary.add(Report(seed, wrong=["no"] if seed == 9 else []))
    assert (summary.in_order, summary.passed, summary.failed) == (2, 2, [9])


@pytest.mark.slow
def test_it_runs_the_seeds_that_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--seed", "3", "--processes", "1", "--folder", str(tmp_path)]) == 0
    assert "1 of 1 seeds passed" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interruption_ends_several_processes_with_what_is_known(tmp_path: Path):
    command = (*COMMAND, "--seeds", "4000", "--processes", "2", "--folder", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=60)
    assert "of 4,000 seeds, 0 failed" in first
    assert "left" in first
    assert running.returncode == 130
    assert "interrupted; continue with --from" in rest
    assert errors == ""
    assert list(tmp_path.iterdir()) == []
