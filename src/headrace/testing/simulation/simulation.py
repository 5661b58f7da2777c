"""Runs seeds in one folder, each compared with the undisturbed run of its inputs."""

import random
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from headrace.stages.topology import Topology
from headrace.testing.failpoints import Killed
from headrace.testing.pipeline import declared
from headrace.testing.simulation.inputs import Inputs, draw_inputs, make_model
from headrace.testing.simulation.known_plans import known_plans
from headrace.testing.simulation.scheduler import DisturbedRun, Report
from headrace.testing.simulation.undisturbed import Undisturbed, undisturbed
from headrace.testing.simulation.world import World

SEEDS_OF_ONE_INPUT = 4
"""So many seeds in a row disturb the same inputs, and share one undisturbed run."""


class Simulation:
    """Keeps the last undisturbed run, so run seeds in their order."""

    def __init__(self, folder: Path) -> None:
        """`folder`: everything is written there."""
        self._folder = folder
        self._model = make_model(folder / "model")
        self._calm: tuple[int, Undisturbed] | None = None
        self._topologies: dict[str, Topology] = {}

    def run(self, seed: int) -> Report:
        """One disturbed run. Whatever a stage raises that would end it for good is an error of the run."""
        calm = self.undisturbed(seed // SEEDS_OF_ONE_INPUT)
        report, draw = Report(seed), random.Random(seed)
        with self._world(calm.inputs, draw) as world:
            try:
                DisturbedRun(world, calm, draw, report).to_the_end()
            except (Exception, Killed) as error:  # noqa: BLE001 - whatever it is, it is what this seed found
                report.wrong.append(f"{type(error).__name__}: {error}")
        return report

    def undisturbed(self, number: int) -> Undisturbed:
        """The undisturbed run of inputs drawn from a number."""
        if self._calm is None or self._calm[0] != number:
            with self._world(draw_inputs(number)) as world:
                self._calm = number, undisturbed(world)
        return self._calm[1]

    @contextmanager
    def _world(self, inputs: Inputs, draw: random.Random | None = None) -> Generator[World]:
        """A state directory; always the same one, so that equal declarations are checked once."""
        folder = self._folder / "run"
        inputs.lay_out(folder, self._model)
        with known_plans():
            world = World(inputs, folder, self._topology, draw)
            try:
                yield world
            finally:
                world.close()
                shutil.rmtree(folder)

    def _topology(self, file: Path, state: Path) -> Topology:
        text = file.read_text("utf-8")
        if text not in self._topologies:
            self._topologies[text] = declared(file, state)
        return self._topologies[text]
