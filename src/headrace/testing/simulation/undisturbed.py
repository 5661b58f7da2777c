"""The undisturbed run: rows are read and joined as soon as they arrive, all else is done at the end, and nothing goes wrong."""

from dataclasses import dataclass
from typing import Any

from headrace.testing.failpoints import Kill, killing
from headrace.testing.simulation.inputs import Inputs, Moment
from headrace.testing.simulation.oracle import outcome
from headrace.testing.simulation.world import World

MAX_ACTIONS = 400
"""Within one moment; an input that is not taken in after so many is stuck."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What every disturbed run of the same inputs is compared with."""

    inputs: Inputs
    result: dict[str, Any]
    passed: tuple[str, ...]
    """The failpoints on its way."""


def undisturbed(world: World) -> Undisturbed:
    """Runs it. AssertionError where even this run breaks a rule."""
    with killing(Kill()) as counted:
        for moment in world.inputs.moments:
            world.begin(moment)
            _take_in(world, moment)
        world.drain()
    passed = tuple(sorted(name for name, times in counted.passed.items() if times))
    found = outcome(world.pipeline.topology, world.state)
    if wrong := world.teachers.settle():
        raise AssertionError(f"the undisturbed run: {'; '.join(wrong)}")
    return Undisturbed(world.inputs, found, passed)


def _take_in(world: World, moment: Moment) -> None:
    for _ in range(MAX_ACTIONS):
        world.keep_up()
        if world.taken_in(moment):
            return
    raise TimeoutError(f"undisturbed and not taken in: {moment}")
