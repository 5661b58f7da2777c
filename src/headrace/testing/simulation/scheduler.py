"""One seed, one run: which stage steps next, who stands still, what goes wrong and when."""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.stages.topology import Topology
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.pipeline import declared
from headrace.testing.simulation.faults import disk_full
from headrace.testing.simulation.inputs import Inputs, Moment, draw_inputs, make_model
from headrace.testing.simulation.oracle import disagreements, outcome, violations
from headrace.testing.simulation.world import World

INPUT_SETS = 24
"""So many different inputs; each has one undisturbed run."""
MAX_ACTIONS = 400
"""Within one moment; an input that is not taken in after so many is stuck."""


@dataclass(frozen=True, slots=True)
class Twin:
    """An undisturbed run."""

    inputs: Inputs
    result: dict[str, Any]
    passed: tuple[str, ...]
    """The failpoints on its way."""


@dataclass(slots=True)
class Report:
    """What came of a seed."""

    seed: int
    wrong: list[str] = field(default_factory=list[str])
    """Empty: it passed."""
    did: Counter[str] = field(default_factory=Counter[str])
    """How often the scheduler did what."""


class Simulation:
    """Runs seeds; keeps the undisturbed runs that they are compared with."""

    def __init__(self, folder: Path) -> None:
        """`folder`: everything is written there."""
        self._folder = folder
        self._model = make_model(folder / "model")
        self._twins: dict[int, Twin] = {}
        self._topologies: dict[str, Topology] = {}

    def _topology(self, file: Path, state: Path) -> Topology:
        """Every run has the same folder, so that equal declarations are checked once."""
        text = file.read_text("utf-8")
        if text not in self._topologies:
            self._topologies[text] = declared(file, state)
        return self._topologies[text]

    def run(self, seed: int) -> Report:
        """One disturbed run. Whatever a stage raises that would end it for good is an error of the run."""
        twin = self.twin(seed % INPUT_SETS)
        folder = self._folder / "run"
        twin.inputs.lay_out(folder, self._model)
        report = Report(seed)
        draw = random.Random(seed)
        world = World(twin.inputs, folder, self._topology, draw)
        try:
            _Run(world, twin, draw, report).to_the_end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what this seed found
            report.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            world.close()
            shutil.rmtree(folder)
        return report

    def twin(self, number: int) -> Twin:
        """The undisturbed run of an input set: everything is read as soon as it arrives."""
        if number not in self._twins:
            inputs = draw_inputs(number)
            folder = self._folder / "run"
            inputs.lay_out(folder, self._model)
            world = World(inputs, folder, self._topology)
            with killing(Kill()) as counted:
                for moment in inputs.moments:
                    world.begin(moment)
                    self._take_in(world, moment)
                world.drain()
            passed = tuple(sorted(name for name, times in counted.passed.items() if times))
            found = outcome(world.pipeline.topology, world.state)
            world.close()
            shutil.rmtree(folder)
            self._twins[number] = Twin(inputs, found, passed)
        return self._twins[number]

    @staticmethod
    def _take_in(world: World, moment: Moment) -> None:
        for _ in range(MAX_ACTIONS):
            world.drain()
            if world.taken_in(moment):
                return
        raise TimeoutError(f"undisturbed and not taken in: {moment}")


class _Run:
    def __init__(self, world: World, twin: Twin, draw: random.Random, report: Report) -> None:
        self._world, self._twin, self._draw, self._report = world, twin, draw, report
        self._standing: dict[int, int] = {}
        """Stages that stand still, by place, and for how many actions yet."""
        calm = draw.choice((1.0, 1.0, 0.3))
        self._actions: dict[Callable[[], None], float] = {
            self._steps: 10.0, self._turn: 3.0, self._pause: 1.0, self._kill_a_stage: 0.3 * calm,
            self._kill_at_a_commit: 0.8 * calm, self._kill_all: 0.04 * calm, self._kill_while_opening: 0.02 * calm,
            self._fill_the_disk: 0.3 * calm, self._change_what_must_not_matter: 0.03 * calm,
        }  # fmt: skip

    def to_the_end(self) -> None:
        for moment in self._twin.inputs.moments:
            self._world.begin(moment)
            self._until_taken_in(moment)
        self._world.drain()
        log, topology = self._world.pipeline.log, self._world.pipeline.topology
        self._report.wrong += violations(log, topology)
        self._report.wrong += disagreements(outcome(topology, self._world.state), self._twin.result)

    def _until_taken_in(self, moment: Moment) -> None:
        for _ in range(MAX_ACTIONS):
            self._act()
            if self._world.taken_in(moment):
                return
            for stage in self._world.ingests():
                self._world.step(stage)
            if self._world.taken_in(moment):
                return
        raise TimeoutError(f"not taken in after {MAX_ACTIONS} actions: {moment}")

    def _act(self) -> None:
        action = self._draw.choices(list(self._actions), list(self._actions.values()))[0]
        self._report.did[action.__name__.strip("_").replace("_", " ")] += 1
        action()
        self._standing = {place: left - 1 for place, left in self._standing.items() if left > 1}

    # --- what it may do ---

    def _steps(self) -> None:
        """A few steps of a few stages, in a drawn order."""
        for _ in range(self._draw.randrange(1, 5)):
            place = self._draw.randrange(len(self._world.stages))
            for _ in range(self._draw.randrange(1, 4)):
                self._step(place)

    def _turn(self) -> None:
        """A step of each, in a drawn order."""
        for place in self._draw.sample(range(len(self._world.stages)), k=len(self._world.stages)):
            self._step(place)

    def _step(self, place: int) -> None:
        """One step; where the process is killed meanwhile, another takes its place."""
        if place in self._standing:
            return
        try:
            self._world.step(self._world.stages[place])
        except Killed as error:
            self._report.did[f"killed at {str(error).partition(':')[0]}"] += 1
            self._world.kill_stage(place)
            raise

    def _pause(self) -> None:
        """A stage stands still for a while."""
        self._standing[self._draw.randrange(len(self._world.stages))] = self._draw.randrange(2, 20)

    def _kill_a_stage(self) -> None:
        self._world.kill_stage(self._draw.randrange(len(self._world.stages)))

    def _kill_at_a_commit(self) -> None:
        """The process of one stage ends at a failpoint, if it comes there."""
        kill = Kill(self._draw.choice(self._twin.passed), self._draw.choice((1, 1, 2, 3)))
        with suppress(Killed), killing(kill):
            self._turn()
            self._turn()

    def _kill_all(self) -> None:
        self._world.kill()
        self._start()

    def _kill_while_opening(self) -> None:
        self._world.kill()
        try:
            with killing(Kill("log.commit.after", self._draw.randrange(1, 8))):
                self._world.open()
        except Killed:
            self._world.kill()
            self._start()

    def _fill_the_disk(self) -> None:
        with disk_full(self._draw.choice((1, 1, 3, 10))):
            for _ in range(2):
                self._turn()

    def _change_what_must_not_matter(self) -> None:
        self._world.checkpoint_interval_ms = self._draw.choice((0, 1_000, 60_000))
        self._world.restart()

    def _start(self) -> None:
        self._world.open()
        self._standing.clear()
        self._report.wrong += violations(self._world.pipeline.log, self._world.pipeline.topology)
