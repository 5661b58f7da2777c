"""One disturbed run: which stage steps next, who stands still, what goes wrong and when. All is drawn from one seed."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.simulation.declarations import MAX_ATTEMPTS, NAMESPACES
from headrace.testing.simulation.faults import disk_full
from headrace.testing.simulation.inputs import Moment
from headrace.testing.simulation.oracle import disagreements, outcome, violations
from headrace.testing.simulation.teacher import Mood
from headrace.testing.simulation.undisturbed import MAX_ACTIONS, Undisturbed
from headrace.testing.simulation.world import CHECKPOINT_INTERVALS_MS, World


@dataclass(slots=True)
class Report:
    """What came of a seed."""

    seed: int
    wrong: list[str] = field(default_factory=list[str])
    """Empty: it passed."""
    did: Counter[str] = field(default_factory=Counter[str])
    """How often the scheduler did what."""


class DisturbedRun:
    """Of the inputs of an undisturbed run."""

    def __init__(self, world: World, calm: Undisturbed, draw: random.Random, report: Report) -> None:
        self._world, self._calm, self._draw, self._report = world, calm, draw, report
        self._standing: dict[int, int] = {}
        """Stages that stand still, by place, and for how many actions yet."""
        often = draw.choice((1.0, 1.0, 0.3))
        self._actions: dict[Callable[[], None], float] = {
            self._steps: 8.0, self._turn: 2.0, self._pause: 1.0, self._kill_a_stage: 0.8 * often,
            self._kill_at_a_commit: 1.6 * often, self._kill_all: 0.08 * often, self._kill_while_opening: 0.05 * often,
            self._fill_the_disk: 0.5 * often, self._fail_twice: 0.4 * often, self._change_what_must_not_matter: 0.06 * often,
        }  # fmt: skip
        if calm.inputs.shape.teacher:
            self._actions |= {self._teacher_goes_on: 2.0, self._teacher_fails: 0.8 * often}

    def to_the_end(self) -> None:
        for moment in self._calm.inputs.moments:
            self._world.begin(moment)
            self._until_taken_in(moment)
        self._world.drain()
        log, topology = self._world.pipeline.log, self._world.pipeline.topology
        self._report.wrong += violations(log, topology)
        self._report.wrong += disagreements(outcome(topology, self._world.state), self._calm.result)
        self._report.wrong += self._world.teachers.settle()

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
        with suppress(Killed), killing(self._drawn_kill()):
            self._two_turns()

    def _drawn_kill(self) -> Kill:
        return Kill(self._draw.choice(self._calm.passed), self._draw.choice((1, 1, 2, 3)))

    def _two_turns(self) -> None:
        """With time for the teacher between them, where there is one."""
        self._turn()
        if self._calm.inputs.shape.teacher:
            self._teacher_goes_on()
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
            self._two_turns()

    def _fail_twice(self) -> None:
        """The disk is full, or the teacher away, and then the process is killed as well."""
        if self._calm.inputs.shape.teacher and self._draw.random() < 0.5:
            self._teacher_fails()
        with disk_full(self._draw.choice((1, 2, 3))):
            self._turn()
            with suppress(Killed), killing(self._drawn_kill()):
                self._two_turns()
            self._kill_a_stage()

    def _teacher_goes_on(self) -> None:
        """Answers arrive while nobody steps the stage that waits for them."""
        namespace = self._draw.choice(NAMESPACES)
        try:
            self._world.teachers.pass_time(namespace, self._draw.choice((0.1, 1.0, 10.0, 100.0)))
        except Killed:
            self._kill_the_label_stage(namespace)
            raise

    def _kill_the_label_stage(self, namespace: str) -> None:
        specs = self._world.pipeline.specs
        self._world.kill_stage(
            next(
                place
                for place, one in enumerate(specs)
                if one.kind == "label" and one.id.namespace == namespace and one.id.name == "desk"
            )
        )

    def _teacher_fails(self) -> None:
        """It is away, its answers are cut, or it limits the rate."""
        service = self._world.teachers.services[self._draw.choice(NAMESPACES)]
        mood: Mood = self._draw.choice(("down", "cut", "limited"))
        if service.mood_now is None and (mood == "limited" or service.outages < MAX_ATTEMPTS - 1):
            self._report.did[f"teacher {mood}"] += 1
            service.fall_into(mood, self._draw.choice((1.0, 15.0, 90.0)))

    def _change_what_must_not_matter(self) -> None:
        self._world.checkpoint_interval_ms = self._draw.choice(CHECKPOINT_INTERVALS_MS)
        self._world.restart()

    def _start(self) -> None:
        self._world.open()
        self._standing.clear()
        self._report.wrong += violations(self._world.pipeline.log, self._world.pipeline.topology)
