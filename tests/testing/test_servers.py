"""A server is for tests with the marker; a missing one is a failure where nothing may go untested."""

import shutil
import subprocess
from types import ModuleType

import pytest

from headrace.testing import cluster, postgres_server, schema_registry

SERVERS = [(cluster, ["kafka"]), (cluster, ["kafka", "flink"]), (postgres_server, []), (schema_registry, [])]


@pytest.mark.server
@pytest.mark.parametrize(("server", "parts"), SERVERS)
def test_a_missing_server_skips_a_test_and_fails_it_where_nothing_may_go_untested(
    server: ModuleType, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "why_absent", lambda *parts: f"no server {parts}")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no server"):
        server.skip_where_absent(*parts)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no server"):
        server.skip_where_absent(*parts)


@pytest.mark.parametrize(("server", "parts"), SERVERS)
def test_a_test_without_the_marker_may_start_no_server(server: ModuleType, parts: list[str]) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"without @pytest\.mark\.server"):
        server.skip_where_absent(*parts)


def test_a_test_without_the_marker_cannot_start_postgresql_by_hand_either() -> None:
    with pytest.raises(pytest.fail.Exception, match="starts PostgreSQL"), postgres_server.postgres_server():
        pass


def test_a_test_without_the_marker_and_its_children_find_no_java() -> None:
    java = shutil.which("java")
    assert java is not None
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "mark it" in done.stderr


def test_a_test_that_asks_for_a_servers_fixture_has_the_marker(request: pytest.FixtureRequest) -> None:
    asking = [item for item in request.session.items if "kafka_address" in getattr(item, "fixturenames", ())]
    assert all(item.get_closest_marker("server") for item in asking)
