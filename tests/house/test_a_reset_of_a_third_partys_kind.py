"""A reset and a purge of a kind that Headrace has never heard of."""

import json
from pathlib import Path

import pytest

from headrace.log.registry import open_log
from headrace.testing.builders import read_all

from .installed import ROWS, Installed

RUN = ("run", "-f", "all.yaml", "--until-idle", "--port", "0", "--no-live")


@pytest.mark.slow
def test_it_is_reset_and_purged_as_every_kind_is(tmp_path: Path):
    installed = Installed(tmp_path)
    installed.headrace(*RUN)
    assert counts(tmp_path) == list(range(1, ROWS + 1))
    (tmp_path / "all.yaml").write_text(
        (tmp_path / "all.yaml")
        .read_text()
        .replace("{sourceStreamConnector: numbers}", "{sourceStreamConnector: numbers, step: 2}")
    )
    installed.headrace("reset", "Counter/rows", "--from", "count")
    assert counts(tmp_path) == []
    installed.headrace(*RUN)
    assert counts(tmp_path) == list(range(2, 2 * ROWS + 1, 2))
    told = installed.headrace("delete", "counter", "rows", "--purge").stdout
    assert "default.rows.counts" in told
    log = open_log(tmp_path / ".headrace")
    topics = {info.spec.name for info in log.topics()}
    assert "default.rows.counts" not in topics
    assert "default.numbers.events" in topics
    assert log.state("count/default.rows") == {}
    log.close()
    assert json.loads(installed.headrace("get", "counters", "-o", "json").stdout) == []


def counts(folder: Path) -> list[int]:
    log = open_log(folder / ".headrace")
    try:
        return [json.loads(one.value)["count"] for one in read_all(log, "default.rows.counts")]
    finally:
        log.close()
