"""A row of the table: one field, changed between two runs, and what is seen of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .house import House

See = Callable[[House], Any]
Feed = Callable[[House], None]


@dataclass(frozen=True)
class Setting:
    """What is declared before a change, and what comes in before each run (`house.fed` is how often it did)."""

    open: Callable[[Path, Path], House]
    """In a folder, with the folder of a base model."""
    feed: Feed


@dataclass(frozen=True)
class Case:
    """Changes a field, and possibly others that must change with it. `see` gives something comparable after each run."""

    kind: str
    path: str
    """The field, by the keys of the YAML, without list indices."""
    setting: Setting
    change: Mapping[str, Any] | Callable[[House], Mapping[str, Any]]
    see: See
    before: Any
    after: Any
    """A value, or a function of what was seen before and after that says whether it holds."""
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Differs from the setting before the change."""
    variant: str = ""
    """Of the kind; '': the field is the same in all."""
    of: str = ""
    """`Kind/name` whose field it is; '': the setting's first."""
    server: bool = False
    """It needs a broker."""

    @property
    def name(self) -> str:
        return " ".join(one for one in (self.kind, self.variant, self.path) if one)


@dataclass(frozen=True)
class Still:
    """A field that nothing on this machine acts on."""

    kind: str
    path: str
    value: Any
    variant: str = ""


@dataclass(frozen=True)
class Elsewhere:
    """A field whose effect is outside of the stages of one process."""

    kind: str
    path: str
    value: Any
    reason: str
    test: str
    """`tests/…/test_x.py::test_y`, which observes it."""
    variant: str = ""
