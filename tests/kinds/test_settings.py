"""Settings: options over environment over headrace.toml over defaults."""

from pathlib import Path

import pytest

from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.settings import Settings, load_settings, require_key


def test_defaults_stand_where_nothing_is_said(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {}, {})
    assert settings == Settings(state=tmp_path / ".headrace")
    assert (settings.host, settings.port, settings.log, settings.streams) == ("127.0.0.1", 5000, "sqlite", "duckdb")


def test_options_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text('port = 1\nhost = "localhost"\nlog = "a"\nsecrets = "s"\n', "utf-8")
    settings = load_settings(tmp_path, {"HEADRACE_PORT": "2", "HEADRACE_HOST": "::1"}, {"port": 3, "state": Path("/x")})
    assert (settings.port, settings.host, settings.log) == (3, "::1", "a")
    assert settings.state == Path("/x")
    assert settings.secrets == tmp_path / "s"


@pytest.mark.parametrize(
    ("toml", "environ", "overrides", "message"),
    [
        ("prot = 1\n", {}, {}, "there is no setting prot — Did you mean port?"),
        ("[server]\nport = 1\n", {}, {}, "there is no setting server"),
        ("port = \n", {}, {}, "not valid TOML"),
        ("port = 70000\n", {}, {}, "port: must be a port, 0 to 65535"),
        ("port = true\n", {}, {}, "port: must be a port"),
        ("", {"HEADRACE_PROT": "1"}, {}, "there is no setting HEADRACE_PROT — Did you mean HEADRACE_PORT?"),
        ("", {"HEADRACE_PORT": "tcp://10.0.0.1:5000"}, {}, "set enableServiceLinks: false"),
        ("", {"HEADRACE_LOG_LEVEL": "loud"}, {}, "log_level: must be one of: debug, info, warning, error"),
        ("", {}, {"colour": "red"}, "the options: there is no setting colour"),
        ('log = ""\n', {}, {}, "log: must be text"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, toml: str, environ: dict[str, str], overrides: dict[str, object], message: str
) -> None:
    (tmp_path / "headrace.toml").write_text(toml, "utf-8")
    with pytest.raises(InvalidDeclarationError) as raised:
        load_settings(tmp_path, environ, overrides)
    assert message in str(raised.value)


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    environ = {"HEADRACE_FAILPOINT": "x:1", "HEADRACE_SERVICE_HOST": "10.0.0.1", "PORT": "1", "HEADRACE_HOST": ""}
    assert load_settings(tmp_path, environ, {}) == load_settings(tmp_path, {}, {})


def test_the_key_is_never_shown(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"HEADRACE_API_KEY": "very-secret"}, {})
    assert settings.api_key == "very-secret"
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    require_key(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.com", "::"])
def test_any_other_address_needs_one(host: str) -> None:
    with pytest.raises(InvalidDeclarationError, match="no api_key is set"):
        require_key(Settings(host=host))
    require_key(Settings(host=host, api_key="k"))
