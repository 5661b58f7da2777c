"""The teacher of each namespace, and the desks in front of them."""

import random
from dataclasses import replace
from pathlib import Path

from headrace.foundation.clock import Clock
from headrace.stages.context import StageContext
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.stage import LabelStage
from headrace.stages.label.teacher_desk import options_of
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import StageSpec
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.stage import TrainStage
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_options import DeskOptions
from headrace.testing.light_learner import open_light_learner
from headrace.testing.simulation.declarations import NAMESPACES
from headrace.testing.simulation.ledger import imbalances, open_reservations, owner_of
from headrace.testing.simulation.stepped_desk import MortalExecutor, SteppedDesk
from headrace.testing.simulation.teacher import Service, SimulatedTeacher
from headrace.testing.virtual_loop import InlineExecutor

WAITS = (0.0, 0.02, 0.02, 1.0, 10.0)
"""Seconds that pass while a stage waits for an answer."""
UNTIL_ALL_HAVE_COME = 100.0
REST_SECONDS = 1.0
RESERVATION_SECONDS = 100_000.0
"""The namespaces' clocks run apart by far less, so neither counts a call as lost that the other waits for."""
LONG_AFTER = 2 * RESERVATION_SECONDS
"""When every reservation has expired."""


class Teachers:
    """Outlive the processes that ask them."""

    def __init__(self, draw: random.Random | None) -> None:
        """`draw`: how long answers take, and how much time passes while a stage waits; None: always as long."""
        self._draw = draw
        self.services = {namespace: Service(draw) for namespace in NAMESPACES}
        self.patient = draw is None
        """Stages wait until every answer has come."""
        self._state = Path()
        self._desks: dict[str, SteppedDesk] = {}
        self._cut_off: dict[str, set[int]] = {namespace: set() for namespace in NAMESPACES}
        """Reservations that were open when a desk ended."""

    @property
    def asked(self) -> bool:
        """Whether there is any desk."""
        return bool(self._desks)

    def opened(self, spec: StageSpec, context: StageContext) -> Stage | None:
        """Stages that ask, with desks that are stepped; None for every other."""
        options = spec.options
        if isinstance(options, LabelOptions) and options.teacher:
            return LabelStage(options, context.log, context.holder, context.state, context.clock, desk=self._run_desk)
        if isinstance(options, TrainOptions) and options.teacher and options.teacher.teacher:
            return TrainStage(
                options, context.log, context.holder, context.state, context.clock,
                learner=open_light_learner, desk=self._desk_at_once,
            )  # fmt: skip
        return None

    def kill(self, namespace: str) -> None:
        """The process that asks is dead."""
        if (desk := self._desks.get(namespace)) is not None:
            desk.drop()
            self._note_cut_off(namespace)

    def pass_time(self, namespace: str, seconds: float) -> None:
        """The teacher answers while nobody steps the stage that asks."""
        if (desk := self._desks.get(namespace)) is not None:
            desk.pass_time(seconds)

    def rest(self) -> None:
        """A moment in which nobody does anything."""
        for namespace in self._desks:
            self.pass_time(namespace, REST_SECONDS)

    def settle(self) -> list[str]:
        """Long after everything is done: a line for each call that the ledger does not account for."""
        wrong: list[str] = []
        for namespace, desk in self._desks.items():
            desk.pass_time(LONG_AFTER)
            desk.run(lambda it: it.reconcile())
            wrong += imbalances(self._state, namespace, self.services[namespace], self._cut_off[namespace])
        return wrong

    def _run_desk(self, options: LabelOptions, state: Path, clock: Clock) -> SteppedDesk:
        assert options.teacher
        self._state, namespace = state, options.id.namespace
        self._note_cut_off(namespace)
        service, executor = self.services[namespace], MortalExecutor()
        store = AnswerStore(state / "teachers.sqlite", executor=executor)
        desk = TeacherDesk(SimulatedTeacher(service), _desk_options(options), store, clock)
        self._desks[namespace] = SteppedDesk(desk, service.clock, executor, self._patience)
        return self._desks[namespace]

    def _desk_at_once(self, options: LabelOptions, state: Path, clock: Clock) -> TeacherDesk:
        """For questions that a trainer asks again: what is not answered then changes what is learned, so all are."""
        assert options.teacher
        teacher = SimulatedTeacher(self.services[options.id.namespace], at_once=True)
        store = AnswerStore(state / "teachers.sqlite", executor=InlineExecutor())
        return TeacherDesk(teacher, _desk_options(options), store, clock)

    def _patience(self, seconds: float) -> float:
        if self.patient or self._draw is None:
            return UNTIL_ALL_HAVE_COME
        return max(seconds, self._draw.choice(WAITS)) if self._draw.random() < 0.8 else 0.0

    def _note_cut_off(self, namespace: str) -> None:
        if namespace in self._desks:
            self._cut_off[namespace] |= open_reservations(self._state, owner_of(namespace))


def _desk_options(options: LabelOptions) -> DeskOptions:
    assert options.teacher
    return replace(options_of(options, options.teacher), reservation_seconds=RESERVATION_SECONDS)
