"""A process's settings, in order of precedence: options, environment, `headrace.toml`, defaults."""

import dataclasses
import difflib
import ipaddress
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.foundation.errors import InvalidDeclarationError

FILE = "headrace.toml"
PREFIX = "HEADRACE_"


def _doc(text: str) -> dict[str, str]:
    return {"doc": text}


@dataclass(frozen=True, slots=True)
class Settings:
    """A process's settings. Each field is a key of `headrace.toml` and an environment variable HEADRACE_NAME in capitals."""

    state: Path = field(default=Path(".headrace"), metadata=_doc("State directory."))
    host: str = field(
        default="127.0.0.1", metadata=_doc("Address that the gateway listens on; any but loopback needs api_key.")
    )
    port: int = field(default=5000, metadata=_doc("Port that the gateway listens on; 0 picks a free one."))
    api_key: str | None = field(default=None, repr=False, metadata=_doc("Key that clients must send; never shown."))
    log: str = field(default="sqlite", metadata=_doc("Technology of the log: sqlite or kafka."))
    kafka: str = field(
        default="127.0.0.1:9092",
        metadata=_doc("Bootstrap servers of the log on Kafka: HOST:PORT, separated by commas."),
    )
    kafka_prefix: str = field(
        default="headrace.",
        metadata=_doc(
            "Prefix of every topic, group and transactional id on Kafka; give each project on a cluster its own."
        ),
    )
    kafka_properties: Mapping[str, str] = field(
        default_factory=dict[str, str],
        repr=False,
        metadata=_doc(
            "Kafka client settings under librdkafka's names, such as security.protocol, sasl.mechanism, sasl.username; a table, or JSON in the environment; never shown."
        ),
    )
    streams: str = field(default="duckdb", metadata=_doc("Engine that runs stream queries: duckdb or flink."))
    flink: str = field(default="http://127.0.0.1:8083", metadata=_doc("Address of Flink's SQL gateway."))
    flink_jobmanager: str = field(
        default="http://127.0.0.1:8081", metadata=_doc("Address of Flink's JobManager (REST).")
    )
    knowledge: str = field(
        default="sqlite", metadata=_doc("Technology of the knowledge stores: sqlite, or postgres (with knowledge_url).")
    )
    knowledge_url: str | None = field(
        default=None,
        repr=False,
        metadata=_doc("Address of the PostgreSQL server that holds the knowledge stores; never shown."),
    )
    tracking: str = field(
        default="mlflow",
        metadata=_doc("Where to mirror curves, versions and decisions: mlflow (STATE/mlflow.db) or none."),
    )
    answers: str = field(
        default="best-effort",
        metadata=_doc(
            "When an answer cannot be recorded: best-effort (return and count it) or required (fail the request)."
        ),
    )
    secrets: Path | None = field(default=None, metadata=_doc("Folder where Secrets are mounted, as NAME/KEY."))
    log_level: str = field(
        default="info", metadata=_doc("Minimum level of Headrace's own messages: debug, info, warning or error.")
    )

    @property
    def log_options(self) -> dict[str, str]:
        """The options for `open_log` besides the state directory."""
        if self.log != "kafka":
            return {}
        return {"kafka": self.kafka, "kafka_prefix": self.kafka_prefix, **self.kafka_properties}

    @property
    def stream_options(self) -> dict[str, str]:
        """The options for `open_engine`."""
        return {"gateway": self.flink, "jobmanager": self.flink_jobmanager} if self.streams == "flink" else {}


TRACKING = ("mlflow", "none")
ANSWERS = ("best-effort", "required")
LEVELS = ("debug", "info", "warning", "error")
KEYS = tuple(field.name for field in dataclasses.fields(Settings))
_NOT_SETTINGS = frozenset({"failpoint"})
"""Variables with our prefix that other modules read."""


def load_settings(cwd: Path, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Reads the settings. Relative paths start at `cwd`. InvalidDeclarationError names the key, where it was set, and what is allowed."""
    values: dict[str, object] = {}
    for where, given in (
        (str(cwd / FILE), _file(cwd / FILE)),
        ("the environment", _environment(environ)),
        ("the options", overrides),
    ):
        for key, value in given.items():
            values[key] = _read(key, value, where)
    settings = Settings(**values)  # pyright: ignore[reportArgumentType] - `_read` gives each key its type
    paths = {name: cwd / path for name in ("state", "secrets") if isinstance(path := getattr(settings, name), Path)}
    return dataclasses.replace(settings, **paths)


def require_key(settings: Settings) -> None:
    """InvalidDeclarationError if other machines could reach the gateway without a key."""
    if not is_loopback(settings.host) and not settings.api_key:
        raise InvalidDeclarationError(
            f"{settings.host} is reachable from other machines, but no api_key is set",
            next_step=f"set {PREFIX}API_KEY, or listen on 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDeclarationError(f"the file cannot be read: {error}", where=str(path)) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidDeclarationError(f"the file is not valid TOML: {error}", where=str(path)) from error


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Our variables. A near miss of a known name is refused; other variables with the prefix are ignored."""
    found: dict[str, str] = {}
    for name, value in environ.items():
        key = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or key in _NOT_SETTINGS or not value:
            continue
        if key in KEYS:
            found[key] = value
        elif near := difflib.get_close_matches(key, KEYS, n=1, cutoff=0.7):
            raise InvalidDeclarationError(
                f"there is no setting {name}", next_step=f"did you mean {PREFIX}{near[0].upper()}?"
            )
    return found


def _read(key: str, value: object, where: str) -> object:
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=1)
        step = f"did you mean {near[0]}?" if near else f"use one of: {', '.join(KEYS)}"
        raise InvalidDeclarationError(f"there is no setting {key}", where=where, next_step=step)
    try:
        return _READERS.get(key, _text)(value)
    except ValueError as error:
        raise InvalidDeclarationError(f"{key}: {error}", where=where) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(value)).expanduser()


def _port(value: object) -> int:
    if isinstance(value, bool) or not str(value).isdecimal() or int(str(value)) > 65_535:
        hint = (
            "; Kubernetes sets this for a Service named headrace: set enableServiceLinks: false"
            if str(value).startswith("tcp:")
            else ""
        )
        raise ValueError(f"must be a port, 0 to 65535{hint}")
    return int(str(value))


def _properties(value: object) -> Mapping[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("must be a table")  # noqa: TRY004 - as every reader says it
    return {str(name): str(one) for name, one in _flat(value)}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Flattens tables: TOML parses `sasl.username = …` as nested tables."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else value


def _level(value: object) -> str:
    if value not in LEVELS:
        raise ValueError(f"must be one of: {', '.join(LEVELS)}")
    return str(value)


def _answers(value: object) -> str:
    if value not in ANSWERS:
        raise ValueError(f"must be one of: {', '.join(ANSWERS)}")
    return str(value)


def _tracking(value: object) -> str:
    if value not in TRACKING:
        raise ValueError(f"must be one of: {', '.join(TRACKING)}")
    return str(value)


_READERS: dict[str, Callable[[object], object]] = {
    "state": _path, "secrets": _path, "port": _port, "log_level": _level,
    "tracking": _tracking, "answers": _answers, "kafka_properties": _properties,
    "api_key": lambda value: None if value is None else _text(value),
    "knowledge_url": lambda value: None if value is None else _text(value),
}  # fmt: skip
