"""Opens a finetuner's desk in front of its teacher: the same for labels and for the questions asked again on drift."""

from collections.abc import Callable
from pathlib import Path

from headrace.foundation.clock import Clock
from headrace.foundation.errors import InvalidDeclarationError
from headrace.stages.label.options import LabelOptions
from headrace.teachers.answer_cache import Keep
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_options import DeskOptions, desk_options
from headrace.teachers.desk_thread import DeskThread, RunningDesk
from headrace.teachers.registry import open_teacher
from headrace.teachers.teacher import TeacherOptions

OpenDesk = Callable[[LabelOptions, Path, Clock], TeacherDesk]
RunDesk = Callable[[LabelOptions, Path, Clock], RunningDesk]


def open_desk(options: LabelOptions, state: Path, clock: Clock) -> TeacherDesk:
    """The desk with its cache and accounts in the state directory."""
    if options.teacher is None:
        raise InvalidDeclarationError(f"the finetuner {options.id.name} has no teacher")
    return TeacherDesk(
        open_teacher(options.teacher),
        options_of(options, options.teacher),
        AnswerStore(state / "teachers.sqlite"),
        clock,
    )


def options_of(options: LabelOptions, teacher: TeacherOptions) -> DeskOptions:
    """How the desk asks this teacher."""
    return desk_options(
        teacher,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
        budget_tokens=options.budget.tokens,
        budget_usd=options.budget.usd,
        give_up_seconds=options.retry_seconds,
        keep=Keep(options.answer_cache.keep_ms, options.answer_cache.max_bytes),
    )


def run_desk(options: LabelOptions, state: Path, clock: Clock) -> RunningDesk:
    """The same in a thread of its own."""
    return DeskThread(open_desk(options, state, clock), f"label/{options.id.path_name}")
