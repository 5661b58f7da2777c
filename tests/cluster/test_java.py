"""Which Java is taken, and what a person without one is told."""

from pathlib import Path

import pytest

from headrace.cluster.java import find_java, find_maven
from headrace.foundation.errors import MissingExtraError


def make_java(folder: Path, says: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}\nEND\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("says", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('java version "21" 2023-09-19 LTS', 21),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "25-ea" 2025-09-16', 25),
    ],
)
def test_a_java_that_is_new_enough_is_taken(tmp_path: Path, says: str, major: int) -> None:
    home = make_java(tmp_path / "jdk", says)
    found = find_java({"JAVA_HOME": str(home), "PATH": ""})
    assert (found.path, found.major) == (home / "bin" / "java", major)


def test_the_path_serves_where_java_home_is_too_old(tmp_path: Path) -> None:
    old = make_java(tmp_path / "old", 'java version "1.8.0_402"')
    new = make_java(tmp_path / "new", 'openjdk version "17.0.1"')
    assert find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")}).path == new / "bin" / "java"


@pytest.mark.parametrize(
    ("says", "told"),
    [('java version "1.8.0_402"', "is Java 8"), ('openjdk version "11.0.2"', "is Java 11"), ("?", "unknown version")],
)
def test_what_is_too_old_is_named_with_its_version(tmp_path: Path, says: str, told: str) -> None:
    home = make_java(tmp_path / "jdk", says)
    with pytest.raises(MissingExtraError, match=told) as caught:
        find_java({"PATH": str(home / "bin")})
    assert "openjdk-17" in (caught.value.next_step or "")


def test_without_any_java_both_places_that_were_looked_at_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"has no bin/java.*no java is on the PATH"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": str(tmp_path)})


def test_without_maven_the_way_to_get_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError) as caught:
        find_maven({"PATH": str(tmp_path)})
    assert "apt install maven" in (caught.value.next_step or "")
