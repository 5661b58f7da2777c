"""The cache of jars: whole or not there. Maven is the real one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cluster import jars
from headrace.cluster.jars import fetch, is_whole, jar_folder
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import MissingExtraError, UnavailableError
from headrace.testing.cluster import skip_where_absent

PATIENCE_SECONDS = 120.0
FETCH = "import sys, pathlib; from headrace.cluster.jars import fetch; fetch('kafka', pathlib.Path(sys.argv[1]), print)"


@pytest.fixture
def maven() -> None:
    skip_where_absent("kafka")


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.kill
def test_a_fetch_that_was_killed_is_not_taken_for_whole(maven: None, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", FETCH, tmp_path], stdout=subprocess.DEVNULL)
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while not list(tmp_path.glob("*.part-*")):
        assert SYSTEM_CLOCK.monotonic() < deadline
        SYSTEM_CLOCK.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait(PATIENCE_SECONDS)
    folder = jar_folder("kafka", tmp_path)
    assert not folder.exists()

    steps: list[str] = []
    assert fetch("kafka", tmp_path, steps.append) == folder
    assert any("kafka_2.13" in path.name for path in folder.glob("*.jar"))
    assert is_whole(folder)
    assert not list(tmp_path.glob("*.part-*"))
    assert steps[0].startswith("fetching Kafka")

    victim = max(folder.glob("*.jar"), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:1_000])  # a full disk, or somebody who tidied up
    assert not is_whole(folder)
    fetch("kafka", tmp_path)
    assert is_whole(folder)
    fetch("kafka", tmp_path, pytest.fail)  # nothing is fetched where all is there


@pytest.mark.slow
@pytest.mark.server
def test_two_that_need_the_jars_at_once_fetch_them_once(maven: None, tmp_path: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", FETCH, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [child.communicate(timeout=PATIENCE_SECONDS)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sum("with Maven (once)" in text for text in said) == 1


def test_a_list_without_its_jars_is_not_whole(tmp_path: Path) -> None:
    assert not is_whole(tmp_path)
    (tmp_path / "whole.json").write_text("{}")
    assert not is_whole(tmp_path)
    (tmp_path / "whole.json").write_text(json.dumps({"a.jar": 3}))
    assert not is_whole(tmp_path)
    (tmp_path / "a.jar").write_bytes(b"jar")
    assert is_whole(tmp_path)


def test_maven_is_asked_for_only_while_the_cache_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="no mvn"):
        fetch("kafka", tmp_path)
    folder = jar_folder("kafka", tmp_path)
    folder.mkdir()
    (folder / "a.jar").write_bytes(b"jar")
    (folder / "whole.json").write_text(json.dumps({"a.jar": 3}))
    assert fetch("kafka", tmp_path) == folder


def test_the_words_of_a_maven_that_fails_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mvn"
    program.write_text("#!/bin/sh\necho '[INFO] resolving'\necho '[ERROR] Could not transfer artifact'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UnavailableError, match="Could not transfer artifact"):
        fetch("kafka", tmp_path / "cache")
    assert not jar_folder("kafka", tmp_path / "cache").exists()
    assert not list((tmp_path / "cache").glob("*.part-*"))


def test_another_version_has_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = jar_folder("kafka", tmp_path)
    newer = tuple(jars.Artifact(one.group, one.name, "9.9") for one in jars.ARTIFACTS["kafka"])
    monkeypatch.setattr(jars, "ARTIFACTS", {**jars.ARTIFACTS, "kafka": newer})
    assert jar_folder("kafka", tmp_path) != before
