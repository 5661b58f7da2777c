"""What is declared and acts on learning, as it is recorded: from which place, and what changed.

Options are never restored from what was learned. They come from the declaration, and a change of it is a record: the decision
`declaration` says from which example on it acts, and the trainer's state keeps it as long as a checkpoint before that place is
kept, so that a run from there changes at the same place again.
"""

import hashlib
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, cast

import msgspec

from headrace.events.decision import Decision
from headrace.learning.options import LearningOptions
from headrace.promotion.gate import GateOptions
from headrace.promotion.metric import MetricChoice

Value = str | float | int | bool
NOT_NAMED = ("learning", "learner", "gate")
NOT_RECORDED = ("base", "device")
"""Where things lie on this machine."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that the weights, scores and decisions follow from, beside the examples."""

    learning: LearningOptions
    """With the base, method, optimizer and seed that the model began with."""
    gate: GateOptions
    metric: MetricChoice
    keep_versions: int
    asks: bool
    """There is a teacher to reask."""
    searches: bool
    """There is a knowledge base to find new passages in."""
    base_version: str
    """The version that is the base model in use."""

    def values(self) -> dict[str, Value]:
        """Every option by a short name, such as `batchSize` or `replay.capacity`."""
        return _flat(self)


class Declared(msgspec.Struct, frozen=True):
    """A declaration and the place from which it acts."""

    number: int
    """From 1."""
    at: int
    """The first example that it acts on."""
    commands: int
    """Commands before this one were taken up before it."""
    declaration: Declaration


def decision_of(declared: Declared, before: Declaration | None) -> Decision:
    """The record of a declaration: the values that changed; all of them where nothing is known of before."""
    values, former = declared.declaration.values(), before.values() if before else {}
    changed = {name: value for name, value in values.items() if former.get(name) != value}
    text = (
        ", ".join(f"{name} {former[name]} → {value}" for name, value in changed.items()) if before else "first options"
    )
    digest = hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()
    return Decision(
        "declaration", f"declaration-{declared.number}", text, declared.at, declared.at, manual=True,
        details={"digest": digest, **changed},
    )  # fmt: skip


def _flat(value: object, prefix: str = "") -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, part in _fields(value).items():
        if name in NOT_RECORDED:
            continue
        if is_dataclass(part) or isinstance(part, msgspec.Struct):
            found |= _flat(part, prefix if name in NOT_NAMED else f"{prefix}{_camel(name)}.")
        else:
            found[f"{prefix}{_camel(name)}"] = part
    return found


def _fields(value: object) -> dict[str, Any]:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    names = asdict(cast("Any", value))
    return {name: getattr(value, name) for name in names}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
